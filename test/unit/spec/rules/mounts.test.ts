import { describe, expect, test } from "vitest";
import { problemsOf, warningsOf } from "../helpers.ts";

const withMount = (mount: unknown) => problemsOf((spec) => spec.mounts.push(mount));

describe("spec/rules/mounts", () => {
  test("a typo in an option word is found, with the word that was meant", () => {
    expect(withMount({ destination: "/a", type: "tmpfs", options: ["ro", "idmpa"] })).toEqual([
      'mounts[7].options[1]: unknown option "idmpa", did you mean "idmap"?',
    ]);
    expect(withMount({ destination: "/a", type: "bind", source: "/b", options: ["bind", "nosiud"] })).toEqual([
      'mounts[7].options[1]: unknown option "nosiud", did you mean "nosuid"?',
    ]);
  });

  test("words of filesystems are left to them", () => {
    const words = [
      "newinstance ptmxmode=0666 mode=0620 gid=5 size=1m nr_inodes=10 huge=always inode32 inode64 noswap mpol=local",
      "user_xattr nouser_xattr acl noacl usrquota grpquota prjquota quota noquota discard nodiscard barrier nobarrier",
      "i_version nouuid wsync dax norecovery nombcache delalloc nodelalloc journal_checksum grpid nogrpid bsdgroups",
      "sysvgroups minixdf bsddf debug noload attr2 noattr2 ikeep noikeep largeio nolargeio swalloc filestreams uquota",
      "gquota pquota ssd nossd compress degraded autodefrag noautodefrag datacow nodatacow datasum nodatasum treelog",
      "notreelog space_cache skip_balance flushoncommit ssd_spread usebackuproot clear_cache quiet showexec check nfs",
      "norock nojoliet cruft unhide nocompress hide default_permissions allow_other tcp udp soft hard intr nointr",
      "posix noposix cto nocto ac noac rdirplus nordirplus sharecache nosharecache resvport noresvport fsc nofsc lock",
      "nolock fg bg migration softerr sloppy nostrictsync nosharesock nobrl nodfs noserverino mfsymlinks noperm",
      "setuids nosetuids sfu mapchars rdma forcegid multiuser sign seal noxattr posixacl nodevmap userxattr volatile",
      "index=off metacopy=on xino=auto lowerdir=/a:/b upperdir=/u workdir=/w all none noprefix clone_children",
      "cpu cpuacct cpuset memory pids devices freezer blkio hugetlb perf_event net_cls net_prio xattr name=systemd",
      "nsdelegate memory_localevents memory_recursiveprot favordynmods pids_localevents hidepid=2 subset=pid errors=x",
    ].flatMap((line) => line.split(" "));
    expect(withMount({ destination: "/a", type: "x", source: "x", options: words })).toEqual([]);
  });

  test("a bind mount takes no word of a filesystem", () => {
    expect(withMount({ destination: "/a", type: "none", source: "/b", options: ["rbind", "noswap"] })).toEqual([
      'mounts[7].options[1]: unknown option "noswap"; a bind mount takes none of a filesystem',
    ]);
  });

  test("a setting of a filesystem does nothing on a bind mount, and is told of", () => {
    const mount = { destination: "/a", type: "none", source: "/b", options: ["rbind", "mode=755", "size=1k"] };
    expect(withMount(mount)).toEqual([]);
    expect(warningsOf((spec) => spec.mounts.push(mount))).toEqual([
      'mounts[7].options[1]: "mode=755" is a matter of a filesystem and does nothing on a bind mount',
      'mounts[7].options[2]: "size=1k" is a matter of a filesystem and does nothing on a bind mount',
    ]);
  });

  test("empty words are nothing, as some callers send them", () => {
    expect(withMount({ destination: "/a", type: "bind", source: "/b", options: ["", "rbind", ""] })).toEqual([]);
  });

  test("what the old call cannot do is refused where only the old call will do", () => {
    const long = `lowerdir=${"/l".repeat(130)}`;
    const mappings = [{ containerID: 0, hostID: 1000, size: 1 }];
    const overlay = { destination: "/a", type: "overlay", source: "overlay" };
    expect(withMount({ ...overlay, options: [long] })).toEqual([]);
    expect(withMount({ ...overlay, options: ["lowerdir=/l"], uidMappings: mappings, gidMappings: mappings })).toEqual(
      [],
    );
    expect(withMount({ ...overlay, options: [long], uidMappings: mappings, gidMappings: mappings })).toEqual([
      'mounts[7].options: mapped ids cannot be had with a value of more than 255 bytes or with "iversion"',
    ]);
    expect(withMount({ destination: "/a", type: "tmpfs", options: ["tmpcopyup", "iversion"] })).toEqual([
      'mounts[7].options: "tmpcopyup" cannot be had with a value of more than 255 bytes or with "iversion"',
    ]);
  });

  test("a bind mount needs a source", () => {
    expect(withMount({ destination: "/a", options: ["bind"] })).toEqual([
      "mounts[7].source: is needed for a bind mount",
    ]);
  });

  test("the words for a source that is a link are those of a bind mount", () => {
    expect(withMount({ destination: "/a", type: "tmpfs", options: ["copy-symlink", "src-nofollow"] })).toEqual([
      'mounts[7].options: "copy-symlink" is for a bind mount',
      'mounts[7].options: "src-nofollow" is for a bind mount',
    ]);
    expect(withMount({ destination: "/a", source: "/b", options: ["bind", "copy-symlink", "src-nofollow"] })).toEqual(
      [],
    );
    expect(withMount({ destination: "/a", type: "tmpfs", options: ["dest-nofollow"] })).toEqual([]);
  });

  test("any other mount needs a type", () => {
    for (const type of [undefined, "", "none"]) {
      expect(
        withMount({ destination: "/a", source: "/b", options: ["rshared"], ...(type === undefined ? {} : { type }) }),
      ).toEqual(['mounts[7].type: is needed, unless the options have "bind" or "rbind"']);
    }
    expect(withMount({ destination: "/a", options: ["remount", "ro"] })).toEqual([]);
  });

  test("the root filesystem cannot be mounted over", () => {
    for (const destination of ["/", "//", ".", "..", "./", "/.", "/a/..", "/../.."]) {
      expect(withMount({ destination, type: "tmpfs" }), destination).toHaveLength(1);
    }
    for (const destination of ["/...", "/.a", "a", "/a/../b"]) {
      expect(withMount({ destination, type: "tmpfs" }), destination).toEqual([]);
    }
    expect(withMount({ destination: "", type: "tmpfs" })).toEqual(["mounts[7].destination: is empty"]);
  });

  test("a relative destination is a warning", () => {
    expect(warningsOf((spec) => spec.mounts.push({ destination: "a/b", type: "tmpfs" }))).toEqual([
      'mounts[7].destination: "a/b" is relative; taken from the container\'s root',
    ]);
  });

  test("what does nothing on a bind mount is a warning", () => {
    const bind = { destination: "/a", type: "bind", source: "/b", options: ["rbind", "sync", "async"] };
    expect(warningsOf((spec) => spec.mounts.push(bind))).toEqual([]);
    expect(warningsOf((spec) => spec.mounts.push({ ...bind, options: ["bind", "lazytime"] }))).toHaveLength(1);
    expect(warningsOf((spec) => spec.mounts.push({ ...bind, options: [] }))).toEqual([
      'mounts[7].options: lack "bind", though the type says so; taken as if they had it',
    ]);
  });

  test("masked and read-only paths need a mount namespace", () => {
    const problems = problemsOf((spec) => {
      spec.linux.namespaces = spec.linux.namespaces.filter(({ type }: { type: string }) => type !== "mount");
    });
    expect(problems.map((line) => line.split(":")[0])).toEqual(["linux.maskedPaths", "linux.readonlyPaths"]);
  });

  test("10,000 mounts are fine", () => {
    const mounts = Array.from({ length: 10_000 }, (_, i) => ({
      destination: `/m/${i}`,
      type: "tmpfs",
      source: "tmpfs",
    }));
    expect(problemsOf((spec) => spec.mounts.push(...mounts))).toEqual([]);
  });
});
