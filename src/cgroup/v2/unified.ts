/**
 * `linux.resources.unified`: files of cgroup v2 by name. Touches no file.
 * Rules: OCI config-linux.md "Unified".
 */
import { SpecError } from "../../errors.ts";
import type { CgroupWrite } from "../write.ts";

/** The writes by controller, in the order of the spec; a value of several lines is written line by line. */
export function unifiedWrites(unified: Record<string, string>): { controller: string; writes: CgroupWrite[] }[] {
  return Object.entries(unified).map(([file, text]) => {
    const dot = file.indexOf(".");
    if (dot <= 0 || !/^[a-z0-9_.]+$/i.test(file)) {
      const message = `${JSON.stringify(file)} is not a file name of the form CONTROLLER.PARAMETER`;
      throw new SpecError([{ path: "linux.resources.unified", message }]);
    }
    const lines = text.split("\n").filter((line) => line !== "");
    const values = lines.length === 0 ? [text] : lines;
    return { controller: file.slice(0, dot), writes: values.map((value) => ({ file, value, named: true })) };
  });
}
