/** `info`: what it says is what the machine says. */
import { readFileSync, statSync } from "node:fs";
import { afterAll, describe, expect } from "vitest";
import { createContainer, sleepingBundle } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { deleteContainers, runOk } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const own = needs({ tsrun: true });
const root = needs({ root: true, tsrun: true });

afterAll(deleteContainers);

const info = (...flags: string[]) => JSON.parse(runOk([...flags, "info", "--json"]));

describe("info", () => {
  own("kernel, memory, cgroups and versions", () => {
    const about = info("--root", scratch("info"));
    expect(about.host.kernel).toBe(readFileSync("/proc/sys/kernel/osrelease", "utf8").trim());
    const kibibytes = Number(/^MemTotal:\s+(\d+)/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]);
    expect(about.host.memory).toBe(kibibytes * 1024);
    expect(["v1", "hybrid", "v2", "none"]).toContain(about.cgroups.layout);
    for (const mount of about.cgroups.mounts) expect(statSync(mount).isDirectory(), mount).toBe(true);
    expect(runOk(["--version"])).toContain(`tsrun version ${about.version.tsrun}\ncommit: ${about.version.commit}\n`);
    expect(about.namespaces).toContain("mount");
  });

  root("containers of the root that is asked for are counted", () => {
    const elsewhere = scratch("info");
    const counts = () => info("--root", elsewhere).state;
    expect(counts()).toMatchObject({ root: elsewhere, containers: { created: 0 } });
    const { id } = createContainer(sleepingBundle());
    expect(counts().containers.created).toBe(0);
    expect(info().state.containers.created).toBeGreaterThan(0);
    runOk(["delete", id]);
  });

  own("for people it is a table of the same", () => {
    const elsewhere = scratch("info");
    const text = runOk(["--root", elsewhere, "info"]);
    expect(text).toMatch(/^version +\d+\.\d+\.\d+ \(commit /);
    expect(text).toMatch(new RegExp(`^container states +${elsewhere}$`, "m"));
    expect(text).toMatch(/^containers +0 running, 0 paused, 0 created, 0 stopped$/m);
  });
});
