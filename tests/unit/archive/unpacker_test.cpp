#include "common/archive/unpacker.hpp"

#include <sys/resource.h>

#include <csignal>
#include <thread>

#include "tests/unit/archive/support.hpp"

namespace taskmill::archive {
namespace {

using namespace test;

std::string error_of(const std::string& archive, const UnpackOptions& options = {}) {
  const TempDir target;
  MemorySource source(as_bytes(archive));
  auto report = unpack(source, target.fd(), options);
  EXPECT_TRUE(report.has_error());
  return report.has_error() ? report.error().text : "no error";
}

#define EXPECT_REFUSED(archive, words) EXPECT_NE(error_of(archive).find(words), std::string::npos) << error_of(archive)

std::vector<Member> small_tree() {
  return {directory("bin/"),
          file("bin/tool", "#!/bin/sh\n", 0755),
          directory("lib"),
          file("lib/a.txt", "alpha"),
          symlink("lib/link", "a.txt"),
          hard_link("lib/again.txt", "lib/a.txt"),
          directory("empty", 0700),
          file("deep/er/without/parents", noise(300'000, 1), 0600)};
}

void expect_small_tree(const TempDir& target) {
  EXPECT_EQ(contents(target / "bin/tool"), "#!/bin/sh\n");
  EXPECT_EQ(status_of(target / "bin/tool").st_mode & 07777U, 0555U);
  EXPECT_EQ(status_of(target / "bin/tool").st_mtime, 1'700'000'000);
  EXPECT_EQ(contents(target / "lib/link"), "alpha");
  EXPECT_EQ(status_of(target / "lib/a.txt").st_ino, status_of(target / "lib/again.txt").st_ino);
  EXPECT_EQ(status_of(target / "empty").st_mode & 07777U, 0500U);
  EXPECT_EQ(status_of(target / "empty").st_mtime, 1'600'000'000);
  EXPECT_EQ(contents(target / "deep/er/without/parents"), noise(300'000, 1));
}

TEST(Unpacker, KeepsContentsModesTimesAndLinks) {
  const TempDir target;
  const std::string archive = tar(small_tree());
  MemorySource source(as_bytes(archive), 777);
  auto report = unpack(source, target.fd(), {});
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(report->entries, 8U);
  EXPECT_EQ(report->archive_bytes, archive.size());
  EXPECT_EQ(report->archive_digest, sha256(as_bytes(archive)));
  expect_small_tree(target);
}

TEST(Unpacker, TakesSlicesOfAnySizeInEveryCompression) {
  const std::string plain = tar(small_tree());
  for (const std::string& archive : {plain, gzip(plain), zstd(plain), gzip(plain) + std::string(1000, '\0')}) {
    const TempDir target;
    Unpacker unpacker(target.dup(), {});
    Random random(7);
    for (std::size_t at = 0; at < archive.size();) {
      const std::size_t size = std::min<std::size_t>(1 + random.below(5000), archive.size() - at);
      ASSERT_TRUE(unpacker.feed(Bytes(archive.data() + at, size)).has_value());
      at += size;
    }
    auto report = unpacker.finish();
    ASSERT_TRUE(report.has_value()) << report.error().text;
    expect_small_tree(target);
  }
}

TEST(Unpacker, LeavesWritePermissionWhenAsked) {
  const TempDir target;
  const std::string archive = tar(small_tree());
  MemorySource source(as_bytes(archive));
  UnpackOptions options;
  options.read_only = false;
  ASSERT_TRUE(unpack(source, target.fd(), options).has_value());
  EXPECT_EQ(status_of(target / "bin/tool").st_mode & 07777U, 0755U);
  EXPECT_EQ(status_of(target / "lib").st_mode & 07777U, 0755U);
}

TEST(Unpacker, StripsSetUidSetGidAndSticky) {
  const TempDir target;
  const std::string archive = tar({directory("d", 03777), file("d/f", "x", 06755)});
  MemorySource source(as_bytes(archive));
  ASSERT_TRUE(unpack(source, target.fd(), {}).has_value());
  EXPECT_EQ(status_of(target / "d/f").st_mode & 07000U, 0U);
  EXPECT_EQ(status_of(target / "d").st_mode & 07000U, 0U);
}

TEST(Unpacker, LaterMemberReplacesAnEarlierOneOfTheSameName) {
  const TempDir target;
  const std::string archive = tar({file("a", "one"), symlink("l", "a"), file("a", "two"), file("l", "own")});
  MemorySource source(as_bytes(archive));
  ASSERT_TRUE(unpack(source, target.fd(), {}).has_value());
  EXPECT_EQ(contents(target / "a"), "two");
  EXPECT_EQ(contents(target / "l"), "own");
}

TEST(Unpacker, KeepsNamesThatAreNotAscii) {
  const TempDir target;
  const std::string long_name = "d/" + std::string(150, 'n') + "/\xc3\xa4'\" b\n" + std::string(120, 'x');
  const std::string archive = tar({file("lib/\xc3\xbc.py", "1"), file("lib/\xff\xfe", "2"), file(long_name, "3")});
  MemorySource source(as_bytes(archive));
  auto report = unpack(source, target.fd(), {});
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(contents(target / "lib/\xc3\xbc.py"), "1");
  EXPECT_EQ(contents(target / "lib/\xff\xfe"), "2");
  EXPECT_EQ(contents(target / long_name), "3");
}

TEST(HostileArchive, AbsolutePathsAreRefused) {
  EXPECT_REFUSED(tar({file("/tmp/taskmill-escaped", "x")}), "absolute path: /tmp/taskmill-escaped");
  EXPECT_FALSE(exists("/tmp/taskmill-escaped"));
}

TEST(HostileArchive, DotDotIsRefusedEverywhere) {
  EXPECT_REFUSED(tar({file("../escaped", "x")}), "leads out of the archive: ../escaped");
  EXPECT_REFUSED(tar({file("a/../../escaped", "x")}), "leads out");
  EXPECT_REFUSED(tar({directory("a/..")}), "leads out");
  EXPECT_REFUSED(tar({file("a", "x"), hard_link("b", "../a")}), "leads out");
}

TEST(HostileArchive, LinksThatLeadOutAreRefused) {
  EXPECT_REFUSED(tar({symlink("l", "/etc")}), "link that leads out of the archive: l -> /etc");
  EXPECT_REFUSED(tar({symlink("l", "..")}), "leads out");
  EXPECT_REFUSED(tar({symlink("a/b/l", "../../../x")}), "leads out");
  EXPECT_REFUSED(tar({symlink("bin/python", "/tmp/../etc/python")}), "leads out");
  EXPECT_REFUSED(tar({symlink("bin/sub/python", "/usr/bin/python3")}), "leads out");
  EXPECT_REFUSED(tar({symlink("bin/tool", "/usr/bin/python3")}), "leads out");
}

TEST(HostileArchive, LinkChainsThatLeadOutOnlyTogetherAreRefused) {
  // p/q/r is the root, so p/q/r/../.. is above it although the text counts three down and two up.
  EXPECT_REFUSED(tar({symlink("p/q/r", "../.."), symlink("z", "p/q/r/../..")}), "leads out of the archive: z");
  EXPECT_REFUSED(tar({symlink("z", "p/q/r/../.."), symlink("p/q/r", "../..")}), "leads out of the archive: z");
}

TEST(Unpacker, LinksWithDotDotInTheMiddleAreFineWhenTheyStayInside) {
  const TempDir target;
  const std::string archive =
      tar({directory("a/b"), file("c", "x"), symlink("l", "a/b/../../c"), symlink("gone", "a/../no")});
  MemorySource source(as_bytes(archive));
  auto report = unpack(source, target.fd(), {});
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(contents(target / "l"), "x");
}

TEST(Unpacker, KeepsTheInterpreterLinkOfAVirtualEnvironment) {
  const TempDir target;
  const std::string archive = tar({symlink("bin/python3", "/usr/bin/python3"), symlink("bin/python", "python3")});
  MemorySource source(as_bytes(archive));
  ASSERT_TRUE(unpack(source, target.fd(), {}).has_value());
  EXPECT_TRUE(S_ISLNK(status_of(target / "bin/python3").st_mode));
}

TEST(HostileArchive, NothingIsWrittenThroughALink) {
  const TempDir outside;
  const TempDir target;
  // Even a link that already lies in the target is not walked.
  ASSERT_EQ(::symlink(outside.path().c_str(), (target / "d").c_str()), 0);
  const std::string archive = tar({file("d/f", "x")});
  MemorySource source(as_bytes(archive));
  auto report = unpack(source, target.fd(), {});
  ASSERT_TRUE(report.has_error());
  EXPECT_NE(report.error().text.find("d, which is not a directory"), std::string::npos) << report.error().text;
  EXPECT_FALSE(exists(outside / "f"));
  EXPECT_REFUSED(tar({symlink("l", "."), file("l/f", "x")}), "below l, which is not a directory");
  EXPECT_REFUSED(tar({file("f", "x"), file("f/g", "x")}), "below f, which is not a directory");
}

TEST(HostileArchive, AHardLinkToALinkIsJudgedAtItsNewPlace) {
  EXPECT_REFUSED(tar({directory("a"), file("x", ""), symlink("a/l", "../x"), hard_link("l", "a/l")}),
                 "leads out of the archive: l -> ../x");
}

TEST(HostileArchive, HardLinksOnlyToEarlierMembers) {
  EXPECT_REFUSED(tar({hard_link("b", "a"), file("a", "x")}), "did not come before");
  EXPECT_REFUSED(tar({directory("a"), hard_link("b", "a")}), "not a file");
  EXPECT_REFUSED(tar({hard_link("b", "/etc/passwd")}), "absolute path");
}

TEST(HostileArchive, DevicesAndFifosAreRefused) {
  const std::string plain = tar({file("dev", "")});
  EXPECT_REFUSED(with_type(plain, 0, '3'), "dev is a character device");
  EXPECT_REFUSED(with_type(plain, 0, '4'), "dev is a block device");
  EXPECT_REFUSED(with_type(plain, 0, '6'), "dev is a fifo");
}

TEST(HostileArchive, AFileIsNotReplacedByADirectoryNorTheReverse) {
  EXPECT_REFUSED(tar({directory("a"), file("a", "x")}), "as a directory and as something else");
  EXPECT_REFUSED(tar({file("a", "x"), directory("a")}), "as a directory and as something else");
}

TEST(HostileArchive, LimitsOnBytesEntriesDepthAndNames) {
  UnpackOptions options;
  options.limits.bytes = 1000;
  EXPECT_NE(
      error_of(tar({file("a", noise(600, 1)), file("b", noise(600, 2))}), options).find("more than 1.0 kB (at b)"),
      std::string::npos)
      << error_of(tar({file("a", noise(600, 1)), file("b", noise(600, 2))}), options);
  options = {};
  options.limits.entries = 2;
  EXPECT_NE(error_of(tar({file("a", ""), file("b", ""), file("c", "")}), options).find("more than 2 members"),
            std::string::npos);
  std::string deep = "f";
  for (int i = 0; i < 200; ++i) deep.insert(0, "d/");
  EXPECT_REFUSED(tar({file(deep, "x")}), "201 directories deep");
  EXPECT_REFUSED(tar({file(std::string(300, 'n'), "x")}), "over 255 bytes");
}

TEST(HostileArchive, ABombIsStoppedByItsRatio) {
  UnpackOptions options;
  options.limits.ratio = 50;
  options.limits.ratio_from = 1 << 20U;
  const std::string bomb = zstd(tar({file("zeros", std::string(20U << 20U, '\0'))}));
  const std::string text = error_of(bomb, options);
  EXPECT_NE(text.find("decompression bomb"), std::string::npos) << text;
}

TEST(HostileArchive, TruncationIsNoticedAtEveryLength) {
  const std::string plain = tar({directory("bin"), file("bin/a", noise(900, 3)), file("bin/b", "")});
  for (const std::string& archive : {gzip(plain), zstd(plain)}) {
    for (std::size_t size = 0; size < archive.size(); ++size) {
      ASSERT_NE(error_of(archive.substr(0, size)), "no error") << size;
    }
  }
  for (std::size_t size = 0; size < plain.size() - 1024; size += 100) {
    ASSERT_NE(error_of(plain.substr(0, size)), "no error") << size;
  }
}

TEST(HostileArchive, FlippedBitsNeverEscapeOrCrash) {
  const std::string plain = tar(small_tree());
  const std::string packed = gzip(plain);
  Random random(11);
  int failed = 0;
  for (int round = 0; round < 300; ++round) {
    std::string archive = round % 2 == 0 ? plain : packed;
    for (int flips = 0; flips < 3; ++flips) {
      archive[random.below(archive.size())] ^= static_cast<char>(1U << random.below(8));
    }
    const TempDir target;
    MemorySource source(as_bytes(archive));
    failed += unpack(source, target.fd(), {}).has_error() ? 1 : 0;
  }
  EXPECT_GE(failed, 150);  // every damaged gzip fails its checksum
}

TEST(HostileArchive, OtherFormatsAreNamed) {
  EXPECT_REFUSED(std::string("PK\x03\x04 something"), "looks like a zip archive");
  EXPECT_REFUSED(std::string("hsqs something"), "looks like a squashfs image");
  EXPECT_REFUSED(std::string("#!/bin/sh\n"), "looks like a script");
  EXPECT_REFUSED(std::string(), "the archive is empty (0 bytes)");
  EXPECT_REFUSED(std::string(2048, '\0'), "no members");
}

TEST(Unpacker, AFailureReachesTheFeederAndFinish) {
  const TempDir target;
  UnpackOptions options;
  options.pipe_capacity = 4096;
  Unpacker unpacker(target.dup(), options);
  const std::string junk = noise(100'000, 5);
  std::string seen;
  for (int i = 0; i < 10'000 && seen.empty(); ++i) {
    if (auto fed = unpacker.feed(as_bytes(junk)); !fed) seen = fed.error().text;
  }
  EXPECT_NE(seen.find("not a tar archive"), std::string::npos) << seen;
  auto report = unpacker.finish();
  ASSERT_TRUE(report.has_error());
  EXPECT_EQ(report.error().text, seen);
}

TEST(Unpacker, TryFeedTellsWhenThePipeIsFull) {
  const TempDir target;
  UnpackOptions options;
  options.pipe_capacity = 1000;
  options.before_sealing = [](int) { return Status{}; };
  Unpacker unpacker(target.dup(), options);
  const std::string archive = tar({file("big", noise(1 << 20U, 9))});
  std::size_t at = 0;
  int refused = 0;
  while (at < archive.size()) {
    const std::size_t size = std::min<std::size_t>(600, archive.size() - at);
    auto taken = unpacker.try_feed(Bytes(archive.data() + at, size));
    ASSERT_TRUE(taken.has_value()) << taken.error().text;
    if (*taken) {
      at += size;
    } else {
      ++refused;
      std::this_thread::yield();
    }
  }
  ASSERT_TRUE(unpacker.finish().has_value());
  EXPECT_EQ(contents(target / "big"), noise(1 << 20U, 9));
  EXPECT_GT(refused, 0);
}

TEST(Unpacker, CancelEndsAnUnpackThatWaitsForBytes) {
  const TempDir target;
  Unpacker unpacker(target.dup(), {});
  ASSERT_TRUE(unpacker.feed(as_bytes(tar({file("a", "x")}).substr(0, 512))).has_value());
  unpacker.cancel(make_error("the manager went away"));
  auto report = unpacker.finish();
  ASSERT_TRUE(report.has_error());
  EXPECT_EQ(report.error().text, "the manager went away");
}

TEST(Unpacker, RefusesBeforeTheFirstByteWhenTheDiskIsTooSmall) {
  UnpackOptions options;
  options.expected_bytes = std::uint64_t{1} << 60U;
  const std::string text = error_of(tar({file("a", "x")}), options);
  EXPECT_NE(text.find("not enough disk space to unpack"), std::string::npos) << text;
  EXPECT_NE(text.find("free"), std::string::npos) << text;
}

TEST(Unpacker, UnpacksWhatOtherProgramsPack) {
  const TempDir from;
  const std::string script = "cd '" + from.path() +
                             "' && mkdir -p t/d && printf hello > t/d/f && ln -s f t/d/l && ln t/d/f t/d/h && " +
                             "truncate -s 3M t/sparse && printf end >> t/sparse && printf 1 > t/\xc3\xa9 && " +
                             "n=$(printf 'n%.0s' $(seq 200)) && printf long > t/$n && " +
                             "for f in gnu pax; do tar -S --format=$f -C t -cf $f.tar . || exit 1; done && " +
                             "gzip -k gnu.tar && bzip2 -k gnu.tar && xz -k gnu.tar";
  ASSERT_EQ(std::system(script.c_str()), 0);
  for (const char* name : {"gnu.tar", "pax.tar", "gnu.tar.gz", "gnu.tar.bz2", "gnu.tar.xz"}) {
    const TempDir target;
    auto source = FileSource::open(from / name);
    ASSERT_TRUE(source.has_value());
    auto report = unpack(**source, target.fd(), {});
    ASSERT_TRUE(report.has_value()) << name << ": " << report.error().text;
    EXPECT_EQ(contents(target / "d/h"), "hello") << name;
    EXPECT_EQ(contents(target / "d/l"), "hello") << name;
    EXPECT_EQ(contents(target / "\xc3\xa9"), "1") << name;
    EXPECT_EQ(contents(target / std::string(200, 'n')), "long") << name;
    EXPECT_EQ(status_of(target / "sparse").st_size, (3 << 20U) + 3) << name;
    EXPECT_EQ(contents(target / "sparse").substr(3U << 20U), "end") << name;
  }
}

TEST(TarWriter, IsUnderstoodByOtherPrograms) {
  const TempDir scratch;
  write_text(scratch / "a.tar", tar(small_tree()));
  const std::string script = "cd '" + scratch.path() +
                             "' && mkdir out && tar -C out -xf a.tar && test $(cat out/lib/again.txt) = alpha && " +
                             "test -x out/bin/tool";
  EXPECT_EQ(std::system(script.c_str()), 0);
}

TEST(RemoveTree, RemovesTreesWithoutWritePermission) {
  const TempDir target;
  const std::string archive = tar(small_tree());
  MemorySource source(as_bytes(archive));
  ASSERT_EQ(::mkdir((target / "t").c_str(), 0755), 0);
  auto inner = open_directory(target.fd(), "t");
  ASSERT_TRUE(inner.has_value());
  ASSERT_TRUE(unpack(source, inner->get(), {}).has_value());
  auto size = tree_size(target.fd(), "t");
  ASSERT_TRUE(size.has_value());
  EXPECT_GE(size->bytes, 300'000U);
  EXPECT_TRUE(remove_tree(target.fd(), "t").has_value());
  EXPECT_FALSE(exists(target / "t"));
}

}  // namespace
}  // namespace taskmill::archive
