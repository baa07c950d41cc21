/** Calls that the profile leaves to a listener: who gets it, what is told beside it, and what the process sees. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type Bundle, type BundleRequest, makeBundle } from "../../helpers/bundle.ts";
import { createContainer, startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  spawn,
  stateOf,
} from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";
import { SeccompAgent } from "../../helpers/seccomp-agent.ts";

const EDQUOT = 122;
const MKDIR = process.arch === "arm64" ? [34] : [83, 258];

const root = needs({ root: true });
const own = needs({ root: true, tsrun: true });
const killable = needs({ root: true, kernel: [5, 19] });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** A bundle whose mkdir(2) is the agent's to decide. */
function bundle(agent: { path: string }, script: string, request: BundleRequest = {}): Bundle {
  return makeBundle({
    ...request,
    args: ["sh", "-c", script],
    edit: (spec) => {
      spec.linux.seccomp = {
        defaultAction: "SCMP_ACT_ALLOW",
        listenerPath: agent.path,
        listenerMetadata: "who=me",
        syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_NOTIFY" }],
      };
      request.edit?.(spec);
    },
  });
}

const MKDIR_TWICE = "mkdir /tmp/a; mkdir /tmp/b && ls /tmp";

describe("seccomp notification", () => {
  root("the agent decides each call: one fails with its errno, another goes on", async () => {
    using agent = new SeccompAgent();
    const id = newId();
    const made = bundle(agent, MKDIR_TWICE, { edit: (spec) => (spec.annotations = { "org.example": "x" }) });
    const started = spawn(["run", "-b", made.path, id]);
    const { state, listener } = agent.receive();
    expect(state).toMatchObject({
      fds: ["seccompFd"],
      metadata: "who=me",
      state: { id, status: "creating", pid: state.pid, bundle: made.path, annotations: { "org.example": "x" } },
    });
    expect(state.ociVersion).toMatch(/^1\./);
    const first = agent.answer(listener, EDQUOT);
    expect(MKDIR).toContain(first.nr);
    // The shell is what the runtime started; who called is a process below it.
    expect(first.pid).not.toBe(state.pid);
    agent.answer(listener, "continue");
    const result = await started.exit;
    expect(result).toMatchObject({ code: 0, stdout: "b\n" });
    expect(result.stderr).toMatch(/quota exceeded/i);
  });

  root("a container without capabilities and without no_new_privs hands it over as well", async () => {
    using agent = new SeccompAgent();
    const edit: BundleRequest["edit"] = (spec) => {
      spec.process.user = { uid: 1000, gid: 1000 };
      spec.process.noNewPrivileges = false;
      spec.process.capabilities = {};
    };
    const started = spawn(["run", "-b", bundle(agent, MKDIR_TWICE, { edit }).path, newId()]);
    const { listener } = agent.receive();
    agent.answer(listener, EDQUOT);
    agent.answer(listener, "continue");
    expect(await started.exit).toMatchObject({ code: 0, stdout: "b\n" });
  });

  own("even the call that executes the process may be asked about, and read", async () => {
    using agent = new SeccompAgent();
    const edit: BundleRequest["edit"] = (spec) => {
      spec.linux.seccomp?.syscalls?.push({ names: ["execve", "read"], action: "SCMP_ACT_NOTIFY" });
    };
    const started = spawn(["run", "-b", bundle(agent, "echo asked", { edit }).path, newId()]);
    const { state, listener } = agent.receive();
    const calls: number[] = [];
    while (agent.isAsked(listener)) {
      const { pid, nr } = agent.answer(listener, "continue");
      expect(pid).toBe(state.pid);
      calls.push(nr);
    }
    expect(await started.exit).toMatchObject({ code: 0, stdout: "asked\n" });
    // The init's wait for the runtime, and its last call.
    expect(calls.slice(0, 2)).toEqual(process.arch === "arm64" ? [63, 221] : [0, 59]);
  });

  root("create does not wait for the agent's answers, start hands the listener over", async () => {
    using agent = new SeccompAgent();
    const container = createContainer(bundle(agent, MKDIR_TWICE));
    const starting = spawn(["start", container.id]);
    const { state, listener } = agent.receive();
    expect(state.pid).toBe(state.state.pid);
    expect((await starting.exit).code).toBe(0);
    agent.answer(listener, EDQUOT);
    agent.answer(listener, "continue");
    await container.waitFor("b\n");
  });

  root("exec has a listener of its own, and says which process it is for", async () => {
    using agent = new SeccompAgent();
    const made = bundle(agent, "sleep 3600");
    const container = createContainer(made);
    const starting = spawn(["start", container.id]);
    agent.receive();
    expect((await starting.exit).code).toBe(0);
    const pid = stateOf(container.id)?.pid;
    const exec = spawn(["exec", container.id, "mkdir", "/tmp/c"]);
    const { state, listener } = agent.receive();
    expect(state).toMatchObject({ metadata: "who=me", state: { id: container.id, status: "running", pid } });
    expect(state.pid).not.toBe(pid);
    expect(agent.answer(listener, EDQUOT).pid).toBe(state.pid);
    const { code, stderr } = await exec.exit;
    expect(code).toBe(1);
    expect(stderr).toMatch(/quota exceeded/i);
    expect(existsSync(join(made.rootfs, "tmp/c"))).toBe(false);
  });

  own("a startContainer hook has its filter and its listener too", async () => {
    using agent = new SeccompAgent();
    const edit: BundleRequest["edit"] = (spec) => {
      spec.hooks = { startContainer: [{ path: "/bin/mkdir", args: ["mkdir", "/tmp/hook"] }] };
    };
    const started = spawn(["run", "-b", bundle(agent, "ls /tmp", { edit }).path, newId()]);
    const hook = agent.receive();
    expect(hook.state.pid).not.toBe(hook.state.state.pid);
    agent.answer(hook.listener, "continue");
    const container = agent.receive();
    expect(container.state.pid).toBe(hook.state.state.pid);
    expect(await started.exit).toMatchObject({ code: 0, stdout: "hook\n" });
  });

  own("crun's annotation names the receiver where listenerPath does not", async () => {
    using agent = new SeccompAgent();
    const edit: BundleRequest["edit"] = (spec) => {
      delete spec.linux.seccomp?.listenerPath;
      spec.annotations = { "run.oci.seccomp.receiver": agent.path };
    };
    const started = spawn(["run", "-b", bundle(agent, "mkdir /tmp/a", { edit }).path, newId()]);
    agent.answer(agent.receive().listener, EDQUOT);
    expect((await started.exit).code).toBe(1);
  });

  killable("WAIT_KILLABLE_RECV is passed on with the listener", async () => {
    using agent = new SeccompAgent();
    const edit: BundleRequest["edit"] = (spec) => {
      if (spec.linux.seccomp) spec.linux.seccomp.flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"];
    };
    const started = spawn(["run", "-b", bundle(agent, "mkdir /tmp/a", { edit }).path, newId()]);
    agent.answer(agent.receive().listener, "continue");
    expect((await started.exit).code).toBe(0);
  });

  own("without an agent nothing runs: not by run, not by start, not by exec", async () => {
    const path = join(scratch("agent"), "agent.sock");
    const result = run(["run", "-b", bundle({ path }, "touch /ran").path, newId()]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(path);

    const made = bundle({ path }, "touch /ran");
    const started = run(["start", createContainer(made).id]);
    expect(started.code).toBe(1);
    expect(started.stderr).toContain(
      `linux.seccomp.listenerPath: failed to connect with seccomp agent: connect ${path}`,
    );
    expect(existsSync(join(made.rootfs, "ran"))).toBe(false);

    let id: string;
    {
      using agent = new SeccompAgent();
      const sleeping = createContainer(bundle(agent, "sleep 3600"));
      id = sleeping.id;
      const starting = spawn(["start", id]);
      agent.receive();
      expect((await starting.exit).code).toBe(0);
    }
    expect(run(["exec", id, "true"]).code).not.toBe(0);
  });

  root("a profile that names a listener and notifies of nothing needs no agent", () => {
    const path = join(scratch("agent"), "agent.sock");
    const edit: BundleRequest["edit"] = (spec) => {
      if (spec.linux.seccomp) spec.linux.seccomp.syscalls = [];
    };
    const container = startContainer(bundle({ path }, "sleep 3600", { edit }));
    expect(stateOf(container.id)?.status).toBe("running");
  });
});
