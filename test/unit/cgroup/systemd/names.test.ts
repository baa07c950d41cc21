import { describe, expect, test } from "vitest";
import { sliceNames, unitName } from "../../../../src/cgroup/systemd/names.ts";
import { systemdRequest } from "../../../../src/cgroup/systemd/request.ts";

const name = (path: string | undefined) => unitName(path, "web", "system.slice");

describe("names of units", () => {
  test("slice, prefix and name make a scope in that slice", () => {
    expect(name("machine.slice:libpod:0123")).toEqual({
      unit: "libpod-0123.scope",
      slice: "machine.slice",
      names: ["machine.slice", "libpod-0123.scope"],
    });
  });

  test("without a path it is a scope of ours, in the slice of the system or of the user", () => {
    expect(name(undefined)).toMatchObject({ unit: "tsrun-web.scope", slice: "system.slice" });
    expect(name("::x")).toMatchObject({ unit: "x.scope", slice: "system.slice" });
  });

  test("a name that ends in .slice is a unit of its own", () => {
    expect(name("::a-b.slice")).toEqual({ unit: "a-b.slice", slice: "a-b.slice", names: ["a.slice", "a-b.slice"] });
  });

  test("each dash of a slice is a level", () => {
    expect(sliceNames("kubepods-burstable-pod1.slice")).toEqual([
      "kubepods.slice",
      "kubepods-burstable.slice",
      "kubepods-burstable-pod1.slice",
    ]);
    expect(sliceNames("-.slice")).toEqual([]);
  });

  test.each([
    "/a/b",
    "a:b",
    "a:b:c:d",
    "a.slice:b:",
    "a--b.slice:p:n",
    "-a.slice:p:n",
    "a:b:c",
    "a.slice:p:n/../m",
    "a.slice:p:n\nm",
  ])("%j is refused", (path) => {
    expect(() => name(path)).toThrow("linux.cgroupsPath");
  });

  test("a user's unit lies below the manager of that user, wherever the caller is", () => {
    const request = (ownCgroup: string) =>
      systemdRequest({ id: "web", cgroupsPath: undefined, annotations: {}, rootless: true, ownCgroup, euid: 1000 });
    const below = ["user.slice", "user-1000.slice", "user@1000.service", "user.slice", "tsrun-web.scope"];
    expect(request("/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope").names).toEqual(below);
    expect(request("/user.slice/user-1000.slice/session-3.scope").names).toEqual(below);
    expect(request("/").names).toEqual(below);
    expect(request("/").bus).toBe("user");
  });
});
