/** Digests and the chain IDs made of them. Rules: OCI image-spec descriptor.md, config.md "Layer ChainID". */
import { createHash } from "node:crypto";
import { TsrunError } from "../errors.ts";

/** "sha256:" and 64 hex digits. */
export type Digest = string;

export class Sha256 {
  readonly #hash = createHash("sha256");
  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }
  digest(): Digest {
    return `sha256:${this.#hash.digest("hex")}`;
  }
}

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

export function isDigest(text: unknown): text is Digest {
  return typeof text === "string" && /^sha256:[0-9a-f]{64}$/.test(text);
}

/** @throws TsrunError for what is none, naming `what` */
export function checkDigest(text: unknown, what: string): Digest {
  if (isDigest(text)) return text;
  const shown = JSON.stringify(text)?.slice(0, 160);
  const algorithm = typeof text === "string" && /^[a-z0-9+._-]+:/.test(text) && !text.startsWith("sha256:");
  throw new TsrunError(`${what} has the digest ${shown}`, {
    fix: algorithm ? "only sha256 is supported" : "a digest is sha256: and 64 hex digits",
  });
}

export function hexOf(digest: Digest): string {
  return digest.slice("sha256:".length);
}

/** The chain ID of a layer on top of `parent`; that of the lowest layer is its diff ID. */
export function chainIdOf(parent: Digest | undefined, diffId: Digest): Digest {
  return parent === undefined ? diffId : digestOf(`${parent} ${diffId}`);
}

export function chainIdsOf(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) chain.push(chainIdOf(chain.at(-1), diffId));
  return chain;
}
