import { restoreInForeground } from "../../index.ts";
import { warn } from "../../log.ts";
import { BUNDLE_FLAGS, CRIU_FLAGS, defineVerb, NETWORK_LOCK_FLAG } from "../flags.ts";
import { absolute, optionalPath } from "../globals.ts";
import { UsageError } from "../parse.ts";

export const restore = defineVerb({
  name: "restore",
  summary: "make a container of a bundle and the files of a checkpoint, and let it run on",
  usage: "<container-id>",
  flags: [
    ...BUNDLE_FLAGS,
    ...CRIU_FLAGS,
    { name: "detach", short: "d", kind: "bool", help: "return when the container runs" },
    { name: "pid-file", kind: "string", argument: "path", help: "write the pid of the process there" },
    {
      name: "console-socket",
      kind: "string",
      argument: "path",
      help: "an AF_UNIX socket that receives the master of the terminal",
    },
    { name: "no-subreaper", kind: "bool", help: "do not reap the orphans of the container while waiting" },
    { name: "no-pivot", kind: "bool", help: "refused: criu changes the root by pivot_root(2) alone" },
    { name: "tcp-close", kind: "bool", help: "close TCP connections that were established" },
    NETWORK_LOCK_FLAG,
    { name: "lsm-profile", kind: "string", argument: "type:name", help: "another AppArmor or SELinux profile" },
    { name: "lsm-mount-context", kind: "string", argument: "context", help: "another SELinux context for its mounts" },
  ],
  min: 1,
  max: 1,
  notes: `The exit code is that of the process, as with \`run\`. Needs criu(8).`,
  run({ values, args, globals }) {
    if (values["no-pivot"]) {
      throw new UsageError("flag --no-pivot is not supported: criu changes the root by pivot_root(2) alone", {
        fix: "leave it out; the container may have been made with it",
      });
    }
    if (values["network-lock"]) warn("--network-lock: criu goes by that of the checkpoint, which is in its files");
    const options = {
      root: globals.root,
      criu: globals.criu,
      id: args[0] as string,
      bundle: absolute(values.bundle || "."),
      configFile: values.config || undefined,
      layers: values.layer,
      overlay: values.overlay,
      rwLayer: values["rw-layer"] || undefined,
      overlayOptions: values["overlay-option"],
      driver: values.driver || undefined,
      storageSize: values["storage-size"],
      storageRoot: optionalPath(values.store),
      cgroupManager: globals.cgroupManager,
      rootless: globals.rootless,
      imagePath: absolute(values["image-path"] || "checkpoint"),
      workPath: optionalPath(values["work-path"]),
      tcpEstablished: values["tcp-established"],
      tcpClose: values["tcp-close"],
      extUnixSk: values["ext-unix-sk"],
      shellJob: values["shell-job"],
      fileLocks: values["file-locks"],
      lazyPages: values["lazy-pages"],
      autoDedup: values["auto-dedup"],
      manageCgroupsMode: values["manage-cgroups-mode"] as "soft" | undefined,
      emptyNs: values["empty-ns"] as "network"[] | undefined,
      lsmProfile: values["lsm-profile"] || undefined,
      lsmMountContext: values["lsm-mount-context"] || undefined,
      detach: values.detach,
      consoleSocket: optionalPath(values["console-socket"]),
      pidFile: optionalPath(values["pid-file"]),
      noSubreaper: values["no-subreaper"],
    };
    return restoreInForeground(options).then(({ exitCode }) => exitCode ?? 0);
  },
});
