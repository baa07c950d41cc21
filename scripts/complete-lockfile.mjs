// Completes package-lock.json: `node scripts/complete-lockfile.mjs` after `npm install` changed it.
//
// A registry mirror that carries no packages of other platforms makes npm write a lockfile without
// them, and `npm ci` of npm 11 then refuses that file. The missing entries are optional, pinned to
// one version by the package that wants them, and say their platform in their name, so they can be
// written from what is there; on their own platform npm fetches them by name and version.
import { readFileSync, writeFileSync } from "node:fs";

const file = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(file, "utf8"));

const OS = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];
const CPU = { x64: "x64", arm64: "arm64", aarch64: "arm64", ia32: "ia32", arm: "arm", armv6: "arm", armv7: "arm" };
const OTHER_CPU = ["loong64", "mips64el", "mipsel", "ppc64", "riscv64", "s390x", "wasm32"];

/** What a name such as `@rollup/rollup-linux-arm64-musl` says of its platform. */
function platform(name) {
  const words = name.split("/").pop().replaceAll("windows", "win32").split(/[-_]/);
  const entry = {};
  const cpu = words.map((word) => CPU[word] ?? OTHER_CPU.find((other) => other === word)).find(Boolean);
  if (cpu !== undefined) entry.cpu = [cpu];
  const os = words.find((word) => OS.includes(word));
  if (os !== undefined) entry.os = [os === "linux" && words.includes("android") ? "android" : os];
  const libc = words.find((word) => word === "musl" || word === "gnu" || word === "glibc");
  if (os === "linux" && libc !== undefined) entry.libc = [libc === "musl" ? "musl" : "glibc"];
  return entry;
}

let added = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const wanted = `node_modules/${name}`;
    if (path === "" || wanted in lock.packages || `${path}/${wanted}` in lock.packages) continue;
    // A range names no version; only what is pinned can be written down.
    if (!/^\d+\.\d+\.\d+$/.test(version)) continue;
    const flags = entry.dev ? { dev: true, optional: true } : { optional: true };
    lock.packages[wanted] = { version, ...flags, ...platform(name) };
    added++;
  }
}
for (const entry of Object.values(lock.packages)) delete entry.resolved;
const sorted = Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1));
lock.packages = Object.fromEntries(sorted);
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`package-lock.json: ${added} packages of other platforms added`);
