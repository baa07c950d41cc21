import { describe, expect, test } from "vitest";
import { type ConversionRequest, type ImageToConvert, imageSpec } from "../../../src/spec/image.ts";

const PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n1000:x:7:7::/:/bin/sh\n";
const GROUP = "root:x:0:\nweb:x:34:\nextra:x:44:web,other\nmore:x:45:web\n";

function convert(config: ImageToConvert["config"], more: Partial<ConversionRequest> = {}) {
  const request: ConversionRequest = {
    imageId: "sha256:0",
    layers: ["sha256:a", "sha256:b"],
    args: [],
    terminal: false,
    passwd: () => PASSWD,
    group: () => GROUP,
    volumesDirectory: undefined,
    ...more,
  };
  return imageSpec({ architecture: "amd64", os: "linux", config: { Cmd: ["sh"], ...config } }, request);
}

describe("spec/image", () => {
  test("the command is the entrypoint and then the arguments, which take the place of Cmd", () => {
    expect(convert({ Entrypoint: ["/e", "x"], Cmd: ["c"] }).spec.process?.args).toEqual(["/e", "x", "c"]);
    expect(convert({ Entrypoint: ["/e"], Cmd: ["c"] }, { args: ["a", "b"] }).spec.process?.args).toEqual([
      "/e",
      "a",
      "b",
    ]);
    expect(() => convert({ Cmd: null })).toThrow("the image has no command");
  });

  test("a user is looked up in the image's own files, with the groups that it is in", () => {
    expect(convert({ User: "web" }).spec.process?.user).toEqual({ uid: 33, gid: 34, additionalGids: [44, 45] });
    expect(convert({ User: "33" }).spec.process?.user).toEqual({ uid: 33, gid: 34, additionalGids: [44, 45] });
    expect(convert({ User: "web:extra" }).spec.process?.user).toEqual({ uid: 33, gid: 44 });
    expect(convert({ User: "web:7" }).spec.process?.user).toEqual({ uid: 33, gid: 7 });
    expect(convert({ User: "4242" }).spec.process?.user).toEqual({ uid: 4242, gid: 0 });
    expect(convert({}).spec.process?.user).toEqual({ uid: 0, gid: 0 });
  });

  test("a user or a group that the image does not have is an error, never root", () => {
    expect(() => convert({ User: "nobody" })).toThrow('the image has no user "nobody"');
    expect(() => convert({ User: "web:nogroup" })).toThrow('the image has no group "nogroup"');
    expect(() => convert({ User: "4294967295" })).toThrow("has no user");
    expect(() => convert({ User: "-1" })).toThrow("has no user");
  });

  test("another user than root has no capabilities, and may not be given more than Docker gives", () => {
    expect(convert({ User: "web" }).spec.process?.capabilities?.effective).toEqual([]);
    expect(convert({}).spec.process?.capabilities?.bounding).not.toContain("CAP_SYS_ADMIN");
    expect(convert({}).spec.process?.capabilities).not.toHaveProperty("ambient");
  });

  test("labels become annotations, and cannot say what only we say", () => {
    const { annotations } = convert({
      Labels: { a: "1", "org.tsrun.layers": '["/"]' },
      StopSignal: "SIGINT",
      ExposedPorts: { "80/tcp": {} },
    }).spec;
    expect(annotations).toMatchObject({
      a: "1",
      "org.tsrun.layers": '["sha256:a","sha256:b"]',
      "org.opencontainers.image.stopSignal": "SIGINT",
      "org.opencontainers.image.exposedPorts": "80/tcp",
      "org.opencontainers.image.os": "linux",
    });
  });

  test("a volume is a bind mount of a directory of the bundle", () => {
    const { spec, volumes } = convert({ Volumes: { "/data": {}, cache: {} } }, { volumesDirectory: "volumes" });
    expect(volumes.map(({ destination }) => destination)).toEqual(["/data", "/cache"]);
    expect(spec.mounts?.at(-1)).toEqual({
      destination: "/cache",
      type: "bind",
      source: "volumes/1",
      options: ["rbind", "rw"],
    });
  });

  test("the environment has a PATH and, with a terminal, a TERM, unless the image has them", () => {
    expect(convert({ Env: ["A=b"] }).spec.process?.env).toEqual([expect.stringMatching(/^PATH=/), "A=b"]);
    expect(convert({ Env: ["PATH=/x"] }, { terminal: true }).spec.process?.env).toEqual(["TERM=xterm", "PATH=/x"]);
  });
});
