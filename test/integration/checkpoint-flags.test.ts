/** Flags of `checkpoint` and `restore`, each with what it changes. Needs criu(8). */
import { spawn as nodeSpawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { COUNT, checkpoint, counted, counting, LONG, restored, started } from "../helpers/checkpoint.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  runOk,
  stateOf,
  until,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const wanted = { root: true, tsrun: true, criu: true };
const criu = needs(wanted);
const tracking = needs({ ...wanted, memoryTracking: true });
const apparmor = needs({ ...wanted, files: ["/sys/kernel/security/apparmor/profiles"] });
const root = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

describe("--auto-dedup", () => {
  /** What the pages of a directory of images take on disk. */
  const blocks = (images: string) =>
    readdirSync(images)
      .filter((name) => name.startsWith("pages-"))
      .reduce((sum, name) => sum + statSync(join(images, name)).blocks, 0);

  tracking(
    "takes the pages that are written again out of the earlier images",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      const was = await counted(id);
      const images = scratch("images");
      checkpoint(id, join(images, "before"), ["--pre-dump"]);
      const all = blocks(join(images, "before"));
      const { count } = await counted(id, was.count + 1);
      checkpoint(id, join(images, "kept"), ["--parent-path", "../before", "--leave-running"]);
      expect(blocks(join(images, "before"))).toBe(all);
      checkpoint(id, join(images, "after"), ["--parent-path", "../before", "--auto-dedup"]);
      expect(blocks(join(images, "before"))).toBeLessThan(all);
      restored(bundle, join(images, "after"), id, ["--auto-dedup"]);
      expect((await counted(id, count + 1)).name).toBe(was.name);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});

describe("--lsm-profile and --lsm-mount-context", () => {
  const profileOf = (id: string) =>
    readFileSync(`/proc/${stateOf(id)?.pid}/attr/apparmor/current`, "utf8").replace(/\0?\n?$/, "");

  apparmor(
    "the processes come back with another AppArmor profile",
    async () => {
      const file = join(scratch("apparmor"), "profiles");
      const rules =
        "flags=(attach_disconnected,mediate_deleted) { file, signal, ptrace, network, unix, capability, mount, }";
      writeFileSync(file, `profile tsrun-before ${rules}\nprofile tsrun-after ${rules}\n`);
      expect(spawnSync("apparmor_parser", ["-r", "-K", file], { encoding: "utf8" }).stderr).toBe("");
      const bundle = counting({
        edit: (spec) => {
          spec.process.apparmorProfile = "tsrun-before";
        },
      });
      const id = started(bundle);
      const was = await counted(id);
      expect(profileOf(id)).toBe("tsrun-before (enforce)");
      const images = scratch("images");
      checkpoint(id, images);
      restored(bundle, images, id, ["--lsm-profile", "apparmor:tsrun-after"]);
      expect((await counted(id, was.count + 1)).name).toBe(was.name);
      expect(profileOf(id)).toBe("tsrun-after (enforce)");
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  root("labels of a module that the host has not are refused before anything is made", ({ skip }) => {
    if (existsSync("/sys/fs/selinux/status")) skip("this host has SELinux");
    const id = newId();
    const label = "system_u:object_r:container_file_t:s0";
    const result = run([
      ...["restore", "-b", makeBundle().path, "--image-path", scratch("images")],
      ...["--lsm-profile", `selinux:${label}`, "--lsm-mount-context", label, id],
    ]);
    expect(result.code).toBe(1);
    for (const flag of ["--lsm-profile", "--lsm-mount-context"]) {
      expect(result.stderr).toContain(`${flag}: SELinux is disabled or not supported on this host`);
    }
    expect(stateOf(id)).toBeUndefined();
  });
});

describe("--network-lock", () => {
  criu(
    "connections are kept still by iptables or by nftables, as is asked for",
    async () => {
      // Before the true one in PATH: it tells that it was called.
      const programs = scratch("programs");
      const told = join(programs, "told");
      const program = join(programs, "iptables-restore");
      writeFileSync(program, `#!/bin/sh\necho called >> ${told}\nexec /usr/sbin/iptables-restore "$@"\n`, {
        mode: 0o755,
      });
      const bundle = counting();
      const id = started(bundle);
      const was = await counted(id);
      const images = scratch("images");
      const calls = (...flags: string[]) => {
        writeFileSync(told, "");
        const place = join(images, flags.join("") || "default");
        const args = ["checkpoint", "--leave-running", "--image-path", place, ...flags, id];
        const { code, stderr } = run(args, { timeoutMs: 60_000, env: { PATH: `${programs}:${process.env.PATH}` } });
        expect({ code, stderr }, flags.join(" ")).toEqual({ code: 0, stderr: "" });
        return readFileSync(told, "utf8") !== "";
      };
      expect(calls()).toBe(true);
      expect(calls("--network-lock", "iptables")).toBe(true);
      expect(calls("--network-lock", "nftables")).toBe(false);
      const [, major, minor] = /(\d+)\.(\d+)/.exec(spawnSync("criu", ["--version"], { encoding: "utf8" }).stdout) ?? [];
      const hasSkip = Number(major) > 3 || Number(minor) >= 18;
      if (hasSkip) expect(calls("--network-lock", "skip")).toBe(false);
      checkpoint(id, join(images, "last"), ["--network-lock", "nftables"]);
      restored(bundle, join(images, "last"), id);
      expect((await counted(id, was.count + 1)).name).toBe(was.name);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});

describe("--tcp-close", () => {
  criu(
    "connections are closed in what is restored",
    async () => {
      const server = "sleep 3600 | nc -l -p 99 & until netstat -tln | grep -q :99; do sleep 0.1; done";
      const bundle = counting({ args: ["sh", "-c", `${server}; sleep 3600 | nc 127.0.0.1 99 & ${COUNT}`] });
      const id = started(bundle);
      const was = await counted(id);
      const isConnected = () => run(["exec", id, "netstat", "-tn"]).stdout.includes("ESTABLISHED");
      await until(isConnected, "it is connected");
      const images = scratch("images");
      checkpoint(id, images, ["--tcp-established"]);
      restored(bundle, images, id, ["--tcp-close"]);
      expect((await counted(id, was.count + 1)).name).toBe(was.name);
      expect(isConnected()).toBe(false);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});

describe("--empty-ns", () => {
  criu(
    "what is in the network namespace does not come back with --empty-ns network",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      const was = await counted(id);
      const pid = () => String(stateOf(id)?.pid);
      const address = (...verb: string[]) =>
        spawnSync("nsenter", ["-t", pid(), "-n", "ip", "address", ...verb], { encoding: "utf8" });
      expect(address("add", "10.97.9.9/32", "dev", "lo")).toMatchObject({ status: 0, stderr: "" });
      const images = scratch("images");
      const has: boolean[] = [];
      for (const flags of [[], ["--empty-ns", "network"]]) {
        const place = join(images, String(flags.length));
        checkpoint(id, place, flags);
        restored(bundle, place, id, flags);
        expect((await counted(id, was.count + 1)).name).toBe(was.name);
        has.push(address("show").stdout.includes("10.97.9.9"));
      }
      expect(has).toEqual([true, false]);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});

describe("--page-server", () => {
  criu(
    "memory goes to the server, and not beside the other files",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      const was = await counted(id);
      const [images, there] = [scratch("images"), scratch("there")];
      const args = ["page-server", "--address", "127.0.0.1", "--port", "27278", "-D", there, "-W", there];
      const server = nodeSpawn("criu", args, { stdio: "ignore" });
      const served = once(server, "exit");
      await until(() => /:6A8E [0-9A-F:]+ 0A /.test(readFileSync("/proc/net/tcp", "utf8")), "it listens");
      checkpoint(id, images, ["--page-server", "127.0.0.1:27278"]);
      expect((await served)[0]).toBe(0);
      const pages = (directory: string) => readdirSync(directory).filter((name) => /^page(s|map)-/.test(name));
      expect(pages(images)).toEqual([]);
      expect(pages(there).length).toBeGreaterThan(1);
      for (const name of pages(there)) writeFileSync(join(images, name), readFileSync(join(there, name)));
      restored(bundle, images, id);
      expect((await counted(id, was.count + 1)).name).toBe(was.name);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});
