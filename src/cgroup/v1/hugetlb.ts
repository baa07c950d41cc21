/**
 * `linux.resources.hugepageLimits` as writes, for both versions. Touches no file.
 * Rules: OCI config-linux.md "Huge page limits"; kernel cgroup-v1/hugetlb.rst, cgroup-v2.rst "HugeTLB".
 */
import { SpecError } from "../../errors.ts";
import type { LinuxHugepageLimit } from "../../spec/types.ts";
import { type CgroupWrite, decimal } from "../write.ts";

/**
 * @param suffix "limit_in_bytes" on v1, "max" on v2
 * @throws SpecError when a page size could not be part of a file name
 */
export function hugetlbWrites(limits: readonly LinuxHugepageLimit[], suffix: "limit_in_bytes" | "max"): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  limits.forEach(({ pageSize, limit }, i) => {
    if (!/^[1-9][0-9]*[KMG]B$/.test(pageSize)) {
      const message = `${JSON.stringify(pageSize)} is not a size such as 64KB, 2MB or 1GB`;
      throw new SpecError([{ path: `linux.resources.hugepageLimits[${i}].pageSize`, message }]);
    }
    const value = decimal(limit);
    writes.push({ file: `hugetlb.${pageSize}.${suffix}`, value });
    // Reservations are limited as well, or a container could reserve what it may not touch. Since Linux 5.7.
    writes.push({ file: `hugetlb.${pageSize}.rsvd.${suffix}`, value, optional: true });
  });
  return writes;
}
