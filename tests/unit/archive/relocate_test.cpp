#include "common/archive/relocate.hpp"

#include "common/archive/unpacker.hpp"
#include "tests/unit/archive/support.hpp"

namespace taskmill::archive {
namespace {

using namespace test;
using namespace std::string_literals;

constexpr std::string_view table =
    "#!/usr/bin/env python\nimport os\n_prefix_records = [\n"
    "('lib/a.txt', '/opt/placehold_placehold', 'text'),\n"
    "(\"it's/b\", '/opt/placehold_placehold', 'binary'),\n"
    "('lib/\\xe4\\u20ac', '/p', 'text')\n]\n\nif __name__ == '__main__':\n";

TEST(PrefixRecords, AreReadFromTheScriptThatCondaPackWrites) {
  const auto records = parse_prefix_records(table);
  ASSERT_TRUE(records.has_value());
  const std::vector<PrefixRecord> expected{{"lib/a.txt", "/opt/placehold_placehold", false},
                                           {"it's/b", "/opt/placehold_placehold", true},
                                           {"lib/\xc3\xa4\xe2\x82\xac", "/p", false}};
  EXPECT_EQ(*records, expected);
  EXPECT_EQ(parse_prefix_records("x\n_prefix_records = [\n\n]\n")->size(), 0U);
}

TEST(PrefixRecords, AnythingElseIsLeftToTheScript) {
  EXPECT_FALSE(parse_prefix_records("print('hello')\n"));
  EXPECT_FALSE(parse_prefix_records("\n_prefix_records = load()\n"));
  EXPECT_FALSE(parse_prefix_records("\n_prefix_records = [('a', 'b', 'other')]\n"));
  EXPECT_FALSE(parse_prefix_records("\n_prefix_records = [('a', 'b', 'text'"));
  EXPECT_FALSE(parse_prefix_records("\n_prefix_records = [('a', '', 'text')]\n"));
}

TEST(ReplacePrefix, TextEverywhere) {
  EXPECT_EQ(replace_text_prefix("#!/old/bin\n/old:/old", "/old", "/longer/new"),
            "#!/longer/new/bin\n/longer/new:/longer/new");
}

TEST(ReplacePrefix, BinaryInsideStringsPaddedAtTheirEnd) {
  const std::string data =
      "\x7f"
      "ELF\0/old/prefix/lib:/old/prefix/x\0rest\0"s;
  auto result = replace_binary_prefix(data, "/old/prefix", "/new");
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(*result,
            "\x7f"
            "ELF\0/new/lib:/new/x"s +
                std::string(15, '\0') + "rest\0"s);
  EXPECT_EQ(result->size(), data.size());
}

TEST(ReplacePrefix, BinaryRefusesALongerPrefixWithNumbers) {
  auto result = replace_binary_prefix("/old\0"s, "/old", "/longer");
  ASSERT_TRUE(result.has_error());
  EXPECT_EQ(result.error().text, "the environment's path is too long: 7 characters, this archive has room for 4");
}

TEST(Relocate, RewritesReadOnlyFilesAndKeepsModeAndTime) {
  const TempDir target;
  const std::string script =
      "\n_prefix_records = [\n('lib/a.txt', '/opt/build', 'text'),\n('gone', '/opt/build', 'text')\n]\n";
  const std::string archive = tar({file("lib/a.txt", "home=/opt/build/x\n", 0755), file("bin/conda-unpack", script)});
  MemorySource source(as_bytes(archive));
  UnpackOptions options;
  Relocation outcome = Relocation::not_needed;
  options.before_sealing = [&](int fd) -> Status {
    auto done = relocate(fd, "/final/place");
    if (!done) return done.error();
    outcome = *done;
    return {};
  };
  ASSERT_TRUE(unpack(source, target.fd(), options).has_value());
  EXPECT_EQ(outcome, Relocation::done);
  EXPECT_EQ(contents(target / "lib/a.txt"), "home=/final/place/x\n");
  EXPECT_EQ(status_of(target / "lib/a.txt").st_mode & 07777U, 0555U);
  EXPECT_EQ(status_of(target / "lib/a.txt").st_mtime, 1'700'000'000);
}

TEST(Relocate, ATableThatNamesFilesOutsideIsRefused) {
  const TempDir target;
  ASSERT_EQ(::mkdir((target / "bin").c_str(), 0755), 0);
  write_text(target / "bin/conda-unpack", "\n_prefix_records = [('../x', '/opt/build', 'text')]\n");
  auto outcome = relocate(target.fd(), "/p");
  ASSERT_TRUE(outcome.has_error());
  EXPECT_NE(outcome.error().text.find("outside: ../x"), std::string::npos);
}

}  // namespace
}  // namespace taskmill::archive
