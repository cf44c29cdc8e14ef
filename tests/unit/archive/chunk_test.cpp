#include <map>

#include "common/archive/chunk_frames.hpp"
#include "common/archive/chunk_store.hpp"
#include "common/archive/packer.hpp"
#include "common/archive/repacker.hpp"
#include "common/archive/unpacker.hpp"
#include "tests/unit/archive/support.hpp"

namespace taskmill::archive {
namespace {

using namespace test;

std::vector<std::string> cut(const std::string& text, std::size_t step) {
  std::vector<std::string> chunks;
  Chunker chunker([&](Bytes chunk) -> Status {
    chunks.emplace_back(chunk.begin(), chunk.end());
    return {};
  });
  for (std::size_t at = 0; at < text.size(); at += step) {
    EXPECT_TRUE(chunker.write(Bytes(text).subspan(at, std::min(step, text.size() - at))).has_value());
  }
  EXPECT_TRUE(chunker.close().has_value());
  return chunks;
}

TEST(Chunker, TheSameCutsHoweverTheBytesArrive) {
  const std::string text = noise(1'000'000, 4);
  const auto whole = cut(text, text.size());
  EXPECT_EQ(cut(text, 1000), whole);
  EXPECT_EQ(cut(text, 77'777), whole);
  std::string joined;
  for (const auto& chunk : whole) joined += chunk;
  EXPECT_EQ(joined, text);
}

TEST(Chunker, SizesStayInTheirBoundsAndNearTheAverage) {
  const std::string text = noise(8'000'000, 6);
  const auto chunks = cut(text, 1U << 20U);
  for (std::size_t i = 0; i + 1 < chunks.size(); ++i) {
    ASSERT_GE(chunks[i].size(), 8U * 1024);
    ASSERT_LE(chunks[i].size(), 128U * 1024);
  }
  const std::size_t average = text.size() / chunks.size();
  EXPECT_GE(average, 20U * 1024);
  EXPECT_LE(average, 48U * 1024);
  EXPECT_EQ(cut(std::string(500'000, '\0'), 1000).size(), 4U);  // no cut points: pieces of the largest size
}

TEST(Chunker, AnInsertionChangesOnlyTheChunksAroundIt) {
  const std::string before = noise(4'000'000, 8);
  const std::string after = before.substr(0, 1'500'000) + "inserted" + before.substr(1'500'000);
  std::map<std::string, int> known;
  for (const auto& chunk : cut(before, 1U << 20U)) known[chunk] = 1;
  int fresh = 0;
  for (const auto& chunk : cut(after, 1U << 20U)) fresh += known.contains(chunk) ? 0 : 1;
  EXPECT_GE(fresh, 1);
  EXPECT_LE(fresh, 3);
}

ChunkRef ref(int i) { return {sha256(as_bytes(std::to_string(i))), static_cast<std::uint32_t>(1000 + i)}; }
ChunkIndex index_of(const std::vector<int>& numbers) {
  ChunkIndex index;
  for (const int i : numbers) index.chunks.push_back(ref(i));
  index.stream = sha256(as_bytes(encode(index)));
  return index;
}

TEST(IndexDelta, CopiesRunsAndNamesTheNew) {
  const auto base = index_of({1, 2, 3, 4, 5, 6});
  const auto target = index_of({1, 2, 9, 4, 5, 6, 1});
  const auto delta = make_delta(&base, target);
  const std::vector<DeltaStep> steps{CopyRun{0, 2}, ref(9), CopyRun{3, 3}, CopyRun{0, 1}};
  EXPECT_EQ(delta.steps, steps);
  EXPECT_EQ(apply_delta(&base, delta), target);
  EXPECT_EQ(apply_delta(nullptr, make_delta(nullptr, target)), target);
}

TEST(IndexDelta, RandomVersionsRoundTripThroughBytes) {
  Random random(21);
  for (int round = 0; round < 200; ++round) {
    std::vector<int> a;
    std::vector<int> b;
    for (std::uint64_t i = random.below(60); i > 0; --i) a.push_back(static_cast<int>(random.below(40)));
    for (const int i : a) {
      if (random.below(5) > 0) b.push_back(i);
      if (random.below(8) == 0) b.push_back(static_cast<int>(random.below(80)));
    }
    const auto base = index_of(a);
    const auto target = index_of(b);
    const auto decoded = decode_delta(encode(make_delta(&base, target)));
    ASSERT_TRUE(decoded.has_value());
    ASSERT_EQ(apply_delta(&base, *decoded), target);
    ASSERT_EQ(decode_index(encode(target)), target);
  }
}

TEST(IndexDelta, HostileBytesAreRefused) {
  const auto base = index_of({1, 2, 3});
  const std::string good = encode(make_delta(&base, index_of({1, 2, 7})));
  for (std::size_t size = 0; size < good.size(); ++size) {
    const auto decoded = decode_delta(std::string_view(good).substr(0, size));
    EXPECT_FALSE(decoded && decoded->steps.size() == 2) << size;
  }
  EXPECT_FALSE(apply_delta(&base, {{}, base.stream, {CopyRun{1, 3}}}));
  EXPECT_FALSE(apply_delta(&base, {{}, base.stream, {CopyRun{4, 0xffffffffU}}}));
  EXPECT_FALSE(apply_delta(nullptr, {{}, std::nullopt, {CopyRun{0, 1}}}));
}

std::unique_ptr<ChunkStore> open_store(const std::string& path, std::uint64_t max_bytes = 0) {
  ChunkStoreOptions options;
  options.max_bytes = max_bytes;
  auto store = ChunkStore::open(path, options);
  EXPECT_TRUE(store.has_value()) << store.error().text;
  return std::move(*store);
}

ChunkIndex must_ingest(ChunkStore& store, const std::string& archive) {
  MemorySource source(as_bytes(archive));
  auto index = store.ingest(source);
  EXPECT_TRUE(index.has_value()) << index.error().text;
  return std::move(*index);
}

std::string version(int which) {
  std::vector<Member> members;
  for (int i = 0; i < 200; ++i) {
    const std::string name = "lib/module" + std::to_string(1000 + i) + ".py";
    std::string text = noise(20'000, static_cast<std::uint64_t>(i));
    if (i == 100) text.insert(500, "version " + std::to_string(which));
    members.push_back(file(name, text));
  }
  return tar(members);
}

/// What a worker that has `base` lacks of `target` goes over; returns how many chunks that were.
std::size_t transfer(ChunkStore& from, ChunkStore& to, const ChunkIndex* base, const ChunkIndex& target) {
  ChunkStore::Intake intake(to);
  std::size_t count = 0;
  for (const auto& step : make_delta(base, target).steps) {
    const auto* chunk = std::get_if<ChunkRef>(&step);
    if (chunk == nullptr || to.has(chunk->digest)) continue;
    auto packed = from.packed(chunk->digest);
    EXPECT_TRUE(packed.has_value());
    EXPECT_TRUE(intake.add(*chunk, as_bytes(*packed)).has_value());
    ++count;
  }
  EXPECT_TRUE(intake.finish(target).has_value());
  return count;
}

TEST(ChunkStore, AChangedModuleMovesKilobytes) {
  const TempDir root;
  auto manager = open_store(root / "manager");
  auto worker = open_store(root / "worker");
  const std::string old_plain = version(1);
  const std::string new_plain = version(2);
  const auto old_index = must_ingest(*manager, gzip(old_plain));
  const auto new_index = must_ingest(*manager, zstd(new_plain));
  EXPECT_EQ(old_index.stream, sha256(as_bytes(old_plain)));

  EXPECT_EQ(transfer(*manager, *worker, nullptr, old_index), old_index.chunks.size());
  StringSink plain;
  ASSERT_TRUE(worker->restore(old_index, plain).has_value());
  EXPECT_EQ(plain.text, old_plain);

  EXPECT_LE(transfer(*manager, *worker, &old_index, new_index), 3U);
  EXPECT_LT(encode(make_delta(&old_index, new_index)).size(), 400U);
  plain.text.clear();
  ASSERT_TRUE(worker->restore(new_index, plain).has_value());
  EXPECT_EQ(plain.text, new_plain);
}

TEST(ChunkStore, WhatAnIntakeDidNotKeepIsGone) {
  const TempDir root;
  auto manager = open_store(root / "manager");
  const auto index = must_ingest(*manager, tar({file("a", noise(300'000, 1))}));
  auto worker = open_store(root / "worker");
  const ChunkRef& chunk = index.chunks.front();
  {
    ChunkStore::Intake intake(*worker);
    ASSERT_TRUE(intake.add(chunk, as_bytes(*manager->packed(chunk.digest))).has_value());
    EXPECT_TRUE(worker->plain(chunk).has_value());
    // A store that others open meanwhile does not take it for left behind.
    (void)open_store(root / "worker");
  }
  EXPECT_FALSE(worker->has(chunk.digest));
  EXPECT_EQ(std::system(("test -z \"$(ls '" + root / "worker" + "')\"").c_str()), 0);
  // What a killed worker left is removed by the next one.
  write_text(root / "worker" + "/tmp-1-2-3-4.pack.new", "half");
  (void)open_store(root / "worker");
  EXPECT_FALSE(exists(root / "worker" + "/tmp-1-2-3-4.pack.new"));
}

TEST(ChunkStore, RemembersAcrossOpeningAndRestoresEveryVersion) {
  const TempDir root;
  ChunkIndex one;
  ChunkIndex two;
  {
    auto store = open_store(root / "s");
    one = must_ingest(*store, version(1));
    two = must_ingest(*store, version(2));
  }
  auto store = open_store(root / "s");
  EXPECT_EQ(store->streams().size(), 2U);
  for (const auto& index : {one, two}) {
    EXPECT_TRUE(store->has_all(index));
    EXPECT_EQ(store->find_index(index.stream), index);
    StringSink plain;
    ASSERT_TRUE(store->restore(index, plain).has_value());
    EXPECT_EQ(sha256(as_bytes(plain.text)), index.stream);
  }
}

TEST(ChunkStore, StaysBelowItsSizeAndSaysWhatIsGone) {
  const TempDir root;
  auto store = open_store(root / "s", 3'000'000);
  const auto one = must_ingest(*store, tar({file("a", noise(2'000'000, 1))}));
  must_ingest(*store, tar({file("a", noise(2'000'000, 2))}));
  EXPECT_LE(store->used_bytes(), 3'000'000U);
  EXPECT_FALSE(store->has_all(one));
  StringSink plain;
  auto restored = store->restore(one, plain);
  ASSERT_TRUE(restored.has_error());
  EXPECT_NE(restored.error().text.find("any more"), std::string::npos);
}

TEST(ChunkStore, ADamagedPackIsNotBelieved) {
  const TempDir root;
  ChunkIndex index;
  {
    auto store = open_store(root / "s");
    index = must_ingest(*store, tar({file("a", noise(300'000, 1))}));
  }
  ASSERT_EQ(std::system(
                ("cd '" + root / "s" +
                 "' && f=$(ls *.pack) && chmod u+w $f && printf X | dd of=$f bs=1 seek=100000 conv=notrunc 2>/dev/null")
                    .c_str()),
            0);
  auto store = open_store(root / "s");
  StringSink plain;
  EXPECT_TRUE(store->restore(index, plain).has_error());
}

TEST(Packer, TheSameTreeGivesTheSameBytesAndUnpacksAgain) {
  const TempDir a;
  const TempDir b;
  ASSERT_EQ(std::system(("cd '" + a.path() +
                         "' && mkdir x && printf 1 > x/one && ln -s one x/link && ln x/one x/two && printf t > tool && "
                         "chmod 755 tool && touch -d @1700000000 x/one tool && touch -h -d @1700000000 x/link")
                            .c_str()),
            0);
  ASSERT_EQ(std::system(("cd '" + b.path() +
                         "' && printf t > tool && chmod 755 tool && mkdir x && ln -s one x/link && printf 1 > x/two && "
                         "ln x/two x/one && touch -d @1700000000 x/one tool && touch -h -d @1700000000 x/link")
                            .c_str()),
            0);
  StringSink one;
  StringSink two;
  ASSERT_TRUE(pack_tree(a.path(), one).has_value());
  ASSERT_TRUE(pack_tree(b.path(), two).has_value());
  EXPECT_EQ(one.text, two.text);
  const TempDir target;
  MemorySource source(as_bytes(one.text));
  auto report = unpack(source, target.fd(), {});
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(contents(target / "x/link"), "1");
  EXPECT_EQ(status_of(target / "x/one").st_ino, status_of(target / "x/two").st_ino);
  EXPECT_EQ(status_of(target / "tool").st_mtime, 1'700'000'000);
}

TEST(Packer, RefusesWhatIsNoFile) {
  const TempDir a;
  ASSERT_EQ(::mkfifo((a / "pipe").c_str(), 0644), 0);
  StringSink sink;
  auto packed = pack_tree(a.path(), sink);
  ASSERT_TRUE(packed.has_error());
  EXPECT_EQ(packed.error().text, "cannot pack pipe: it is neither a file, a directory nor a link");
}

TEST(Repacker, MakesZstdOfGzipOnceAndKeepsItsIdentity) {
  const TempDir root;
  const std::string plain = tar({file("a", noise(100'000, 1))});
  write_text(root / "env.tar.gz", gzip(plain));
  const RepackOptions options{root / "cache", 3, 1};
  auto first = repack(root / "env.tar.gz", options);
  ASSERT_TRUE(first.has_value()) << first.error().text;
  EXPECT_FALSE(first->reused);
  EXPECT_EQ(first->plain_digest, sha256(as_bytes(plain)));
  EXPECT_EQ(first->source_digest, sha256(as_bytes(gzip(plain))));
  EXPECT_EQ(first->plain_bytes, plain.size());
  EXPECT_EQ(*detect_compression(as_bytes(contents(first->path))), Compression::zstd);
  EXPECT_EQ(first->bytes, contents(first->path).size());
  auto second = repack(root / "env.tar.gz", options);
  ASSERT_TRUE(second.has_value());
  EXPECT_TRUE(second->reused);
  EXPECT_EQ(second->path, first->path);
  write_text(root / "env.tar.gz", gzip(tar({file("a", noise(100'000, 2))})));
  auto changed = repack(root / "env.tar.gz", options);
  ASSERT_TRUE(changed.has_value());
  EXPECT_FALSE(changed->reused);
  EXPECT_NE(changed->plain_digest, first->plain_digest);
}

TEST(Repacker, LeavesZstdAndPackesDirectories) {
  const TempDir root;
  write_text(root / "env.tar.zst", zstd(tar({file("a", "x")})));
  const RepackOptions options{root / "cache", 3, 1};
  auto kept = repack(root / "env.tar.zst", options);
  ASSERT_TRUE(kept.has_value());
  EXPECT_EQ(kept->path, root / "env.tar.zst");
  ASSERT_EQ(std::system(("mkdir '" + root / "d" + "' && printf x > '" + root / "d/a" + "'").c_str()), 0);
  auto packed = repack(root / "d", options);
  ASSERT_TRUE(packed.has_value()) << packed.error().text;
  const TempDir target;
  auto source = FileSource::open(packed->path);
  ASSERT_TRUE(source.has_value());
  ASSERT_TRUE(unpack(**source, target.fd(), {}).has_value());
  EXPECT_EQ(contents(target / "a"), "x");
}

}  // namespace
}  // namespace taskmill::archive
