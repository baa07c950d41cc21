/** Lines of a Dockerfile as changes of an image's config. Rules: docker commit --change. */
import type { ImageConfig } from "../../index.ts";
import { UsageError } from "../parse.ts";

type Config = NonNullable<ImageConfig["config"]>;

/** @throws UsageError for a line that is none of those */
export function configChanges(lines: readonly string[], base: Config = {}): Partial<Config> {
  const config: Config = {};
  for (const line of lines) apply(config, base, line);
  return config;
}

function apply(config: Config, base: Config, line: string): void {
  const match = /^\s*([A-Za-z]+)[\s=]+(.*\S)\s*$/s.exec(line);
  const word = match?.[1]?.toUpperCase();
  const rest = match?.[2] ?? "";
  if (word === "CMD") config.Cmd = command(rest);
  else if (word === "ENTRYPOINT") config.Entrypoint = command(rest);
  else if (word === "USER") config.User = rest;
  else if (word === "WORKDIR") config.WorkingDir = rest;
  else if (word === "STOPSIGNAL") config.StopSignal = rest;
  else if (word === "ENV") {
    const [name, value] = pair(rest, line);
    const others = (config.Env ?? base.Env ?? []).filter((entry) => !entry.startsWith(`${name}=`));
    config.Env = [...others, `${name}=${value}`];
  } else if (word === "LABEL") {
    const [name, value] = pair(rest, line);
    config.Labels = { ...(config.Labels ?? base.Labels), [name]: value };
  } else if (word === "VOLUME") config.Volumes = { ...(config.Volumes ?? base.Volumes), [rest]: {} };
  else if (word === "EXPOSE")
    config.ExposedPorts = {
      ...(config.ExposedPorts ?? base.ExposedPorts),
      [rest.includes("/") ? rest : `${rest}/tcp`]: {},
    };
  else
    throw new UsageError(`${JSON.stringify(line)} is no change of an image`, {
      fix: "CMD, ENTRYPOINT, ENV, USER, WORKDIR, LABEL, VOLUME, EXPOSE or STOPSIGNAL",
    });
}

/** A list in JSON as it is; anything else is for the shell. */
function command(text: string): string[] {
  if (!text.startsWith("[")) return ["/bin/sh", "-c", text];
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list) && list.every((item) => typeof item === "string")) return list;
  } catch {
    // said below
  }
  throw new UsageError(`${text} is no list of strings`);
}

function pair(text: string, line: string): [name: string, value: string] {
  const match = /^([^\s=]+)[=\s](.*)$/s.exec(text);
  if (match === null) throw new UsageError(`${JSON.stringify(line)} has no value`, { fix: "NAME=VALUE" });
  const value = match[2] as string;
  return [match[1] as string, /^".*"$/s.test(value) ? value.slice(1, -1) : value];
}
