import { defineConfig } from "vitest/config";

// Three kinds of tests. Unit tests need no root and touch nothing; the others run one file after
// another, because they share the machine's mounts, cgroups and processes, and each file in a
// process of its own, because what a test does to its process (a namespace, a descriptor) stays there.
const privileged = {
  pool: "forks" as const,
  fileParallelism: false,
  // In the VM every instruction is emulated: ten to thirty times slower than here.
  testTimeout: process.env.TSRUN_VM ? 120_000 : 60_000,
  // What waits for other processes may be unlucky on a busy machine: a second try, which the report shows. A person
  // who runs the suite sees each failure.
  retry: process.env.CI === "true" || process.env.TSRUN_VM ? 1 : 0,
  hookTimeout: process.env.TSRUN_VM ? 120_000 : 60_000,
  globalSetup: ["test/setup/privileged.ts"],
  setupFiles: ["test/setup/each-file.ts"],
};

// Long races and repetitions, what does not depend on the layout of cgroups, and of the engines what is not decisive, which
// take minutes where every instruction is emulated: `npm test` runs them on this machine alone, `npm run test:vm` in the
// virtual one.
const onlyHere = [
  "cli/{completion,hostile-directory,info,output}",
  "engines/{buildah,buildah-run,containerd,containerd-checkpoint,cri,docker,docker-checkpoint,docker-daemon}",
  "engines/{podman,podman-life,podman-network}",
  "checkpoint-{cgroups,failing,flags,kept,outside,terminal}",
  "{attributes,caller,failure,far-sources,hooks,host-mounts,idmap,inventory,layers,library-docs}",
  "{live-mounts,mounts,namespaces,native,net-devices,notify,plan,process,programs,rlimits,rootless,sandbox,signals}",
  "{source-links,terminal,user}",
  "seccomp/{filter,notify}",
  "security/{bad-input,concurrency,damaged,descriptors,faults,hanging-hook,ids,links,machine,masks,messages,no-pivot}",
  "security/{outside,runtime-binary,swap,uninterruptible}",
  "storage/{exclusive,gc-race,gnu-tar,hostile,id-map,images,kill,no-room,old-kernel}",
  "storage/{options,power-loss,random-tar,rootfs,rw-layers,try}",
];
const exclude = process.env.TSRUN_BRIEF === "1" ? onlyHere.map((name) => `test/integration/${name}.test.ts`) : [];

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["test/unit/**/*.test.ts"], pool: "forks", testTimeout: 20_000 } },
      { test: { name: "integration", include: ["test/integration/**/*.test.ts"], exclude, ...privileged } },
      { test: { name: "soak", include: ["test/soak/**/*.test.ts"], ...privileged } },
      { test: { name: "conformance", include: ["test/conformance/**/*.test.ts"], ...privileged } },
    ],
  },
});
