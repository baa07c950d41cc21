import { describe, expect, test } from "vitest";
import { helpText } from "../../../src/cli/help.ts";
import { SUBVERBS } from "../../../src/cli/store/all.ts";
import { lastMessage, nameOfSource } from "../../../src/cli/store/pull.ts";

describe("cli/store/pull", () => {
  test.each([
    ["docker://debian", "debian"],
    ["docker://registry:5000/a/b:1", "registry:5000/a/b:1"],
    ["docker://debian@sha256:abc", "debian"],
    ["docker-daemon:web:1", "web:1"],
    ["containers-storage:[overlay@/a+/b]localhost/web:1", "localhost/web:1"],
    ["dir:/srv/My Images/", "my-images"],
    ["oci:/srv/layout:v1", "layout:v1"],
    ["oci:layout", "layout"],
    ["oci:layout:example.org/web:1", "layout"],
    ["oci-archive:/srv/web.tar.gz:v1", "web:v1"],
    ["docker-archive:/srv/web.tar", "web"],
    ["docker-archive:/srv/web.tar:example.org/web:2", "example.org/web:2"],
    ["docker-archive:/srv/web.tar:@0", "web"],
    ["dir:/", "image"],
  ])("%s is called %s", (source, name) => {
    expect(nameOfSource(source)).toBe(name);
  });

  test("what skopeo logs is told without the log around it", () => {
    const log = 'Copying blob\ntime="2024-01-01T00:00:00Z" level=fatal msg="Get \\"https://r/\\": \\\\ refused"\n';
    expect(lastMessage(log)).toBe('Get "https://r/": \\ refused');
    expect(lastMessage("FATA[0000] no log\n")).toBe("FATA[0000] no log");
    expect(lastMessage("")).toBe("it failed and did not say why");
  });
});

describe("cli/help", () => {
  test.each(SUBVERBS.map((verb) => [verb.name, verb] as const))(
    "%s has a help of its own, with its flags",
    (name, verb) => {
      const text = helpText([], [verb], verb);
      expect(text).toMatch(new RegExp(`^USAGE: (tsrun )?.*${name} `, "m"));
      expect(text).toContain(verb.summary.slice(0, 20));
      for (const flag of verb.flags) expect(text).toContain(`--${flag.name}`);
    },
  );
});
