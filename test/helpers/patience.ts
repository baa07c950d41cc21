/** How long a command of a container engine's may take: of Docker's, of Podman's and their like. */
export const ENGINE_MS = process.env.TSRUN_VM === "1" ? 240_000 : 60_000;
