// The decoders and encoders over zlib, bzip2, liblzma and zstd, one small class each.
#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <limits>

#include "common/archive/compression.hpp"

namespace taskmill::archive {

namespace {

constexpr std::uint64_t xz_memory_limit = std::uint64_t{1} << 30U;

unsigned clamp_unsigned(std::size_t size) {
  return static_cast<unsigned>(std::min<std::size_t>(size, std::numeric_limits<unsigned>::max()));
}

bool all_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0; });
}

class GzipDecoder final : public Decoder {
 public:
  GzipDecoder() { ready_ = inflateInit2(&stream_, 15 + 16) == Z_OK; }
  ~GzipDecoder() override { inflateEnd(&stream_); }

  Expected<std::size_t> run(Bytes& in, std::span<char> out) override {
    if (!ready_) return make_error("out of memory");
    if (ended_) {
      // Padding after the last member is customary on tapes; gzip ignores it and so do we.
      if (all_zero(in)) in = {};
      if (in.empty()) return std::size_t{0};
      inflateReset(&stream_);
      ended_ = false;
    }
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream_.avail_in = clamp_unsigned(in.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = clamp_unsigned(out.size());
    const int code = inflate(&stream_, Z_NO_FLUSH);
    in = in.subspan(in.size() - stream_.avail_in);
    if (code == Z_STREAM_END) {
      ended_ = true;
    } else if (code != Z_OK && code != Z_BUF_ERROR) {
      return make_error(stream_.msg != nullptr ? stream_.msg : "invalid data");
    }
    return out.size() - stream_.avail_out;
  }
  [[nodiscard]] bool at_boundary() const override { return ended_; }

 private:
  z_stream stream_{};
  bool ready_ = false;
  bool ended_ = false;
};

class Bzip2Decoder final : public Decoder {
 public:
  ~Bzip2Decoder() override { stop(); }

  Expected<std::size_t> run(Bytes& in, std::span<char> out) override {
    if (!active_) {
      if (all_zero(in)) in = {};
      if (in.empty()) return std::size_t{0};
      stream_ = {};
      if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) return make_error("out of memory");
      active_ = true;
    }
    stream_.next_in = const_cast<char*>(in.data());
    stream_.avail_in = clamp_unsigned(in.size());
    stream_.next_out = out.data();
    stream_.avail_out = clamp_unsigned(out.size());
    const int code = BZ2_bzDecompress(&stream_);
    in = in.subspan(in.size() - stream_.avail_in);
    const std::size_t produced = out.size() - stream_.avail_out;
    if (code == BZ_STREAM_END) {
      stop();
    } else if (code != BZ_OK) {
      return make_error(code == BZ_MEM_ERROR ? "out of memory" : "invalid data");
    }
    return produced;
  }
  [[nodiscard]] bool at_boundary() const override { return !active_; }

 private:
  void stop() {
    if (active_) BZ2_bzDecompressEnd(&stream_);
    active_ = false;
  }
  bz_stream stream_{};
  bool active_ = false;
};

class XzDecoder final : public Decoder {
 public:
  XzDecoder() { ready_ = lzma_stream_decoder(&stream_, xz_memory_limit, LZMA_CONCATENATED) == LZMA_OK; }
  ~XzDecoder() override { lzma_end(&stream_); }

  Expected<std::size_t> run(Bytes& in, std::span<char> out) override {
    if (!ready_) return make_error("out of memory");
    if (ended_) return std::size_t{0};
    // With concatenated streams the decoder only knows the end when it is told that no input follows.
    const lzma_action action = in.empty() ? LZMA_FINISH : LZMA_RUN;
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(in.data());
    stream_.avail_in = in.size();
    stream_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    stream_.avail_out = out.size();
    const lzma_ret code = lzma_code(&stream_, action);
    in = in.subspan(in.size() - stream_.avail_in);
    if (code == LZMA_STREAM_END) {
      ended_ = true;
    } else if (code == LZMA_MEMLIMIT_ERROR) {
      return make_error("it needs more than 1 GB of memory to decompress");
    } else if (code != LZMA_OK && code != LZMA_BUF_ERROR) {
      return make_error("invalid data");
    }
    return out.size() - stream_.avail_out;
  }
  [[nodiscard]] bool at_boundary() const override { return ended_; }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool ready_ = false;
  bool ended_ = false;
};

class ZstdDecoder final : public Decoder {
 public:
  ZstdDecoder() : stream_(ZSTD_createDCtx()) {}
  ~ZstdDecoder() override { ZSTD_freeDCtx(stream_); }

  Expected<std::size_t> run(Bytes& in, std::span<char> out) override {
    if (stream_ == nullptr) return make_error("out of memory");
    if (in.empty() && boundary_) return std::size_t{0};
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    const std::size_t code = ZSTD_decompressStream(stream_, &output, &input);
    if (ZSTD_isError(code) != 0) return make_error(ZSTD_getErrorName(code));
    in = in.subspan(input.pos);
    boundary_ = code == 0;
    return output.pos;
  }
  [[nodiscard]] bool at_boundary() const override { return boundary_; }

 private:
  ZSTD_DCtx* stream_;
  bool boundary_ = false;
};

}  // namespace

namespace detail {
std::unique_ptr<Decoder> make_gzip_decoder();
std::unique_ptr<Decoder> make_bzip2_decoder();
std::unique_ptr<Decoder> make_xz_decoder();
std::unique_ptr<Decoder> make_zstd_decoder();

std::unique_ptr<Decoder> make_gzip_decoder() { return std::make_unique<GzipDecoder>(); }
std::unique_ptr<Decoder> make_bzip2_decoder() { return std::make_unique<Bzip2Decoder>(); }
std::unique_ptr<Decoder> make_xz_decoder() { return std::make_unique<XzDecoder>(); }
std::unique_ptr<Decoder> make_zstd_decoder() { return std::make_unique<ZstdDecoder>(); }
}  // namespace detail

struct ZstdSink::State {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::vector<char> out = std::vector<char>(ZSTD_CStreamOutSize());
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { ZSTD_freeCCtx(context); }
};

ZstdSink::ZstdSink(ByteSink& sink, int level, int workers) : sink_(sink), state_(std::make_unique<State>()) {
  ZSTD_CCtx_setParameter(state_->context, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(state_->context, ZSTD_c_checksumFlag, 1);
  // A library without threads refuses this parameter and compresses on our thread, which is fine.
  ZSTD_CCtx_setParameter(state_->context, ZSTD_c_nbWorkers, workers);
}
ZstdSink::~ZstdSink() = default;

Status ZstdSink::pump(Bytes bytes, bool end) {
  ZSTD_inBuffer input{bytes.data(), bytes.size(), 0};
  for (;;) {
    ZSTD_outBuffer output{state_->out.data(), state_->out.size(), 0};
    const std::size_t left = ZSTD_compressStream2(state_->context, &output, &input, end ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left) != 0) return make_error(std::string("zstd: ") + ZSTD_getErrorName(left));
    if (output.pos > 0) {
      if (auto wrote = sink_.write({state_->out.data(), output.pos}); !wrote) return wrote;
    }
    if (end ? left == 0 : input.pos == input.size) return {};
  }
}

Status ZstdSink::write(Bytes bytes) { return pump(bytes, false); }
Status ZstdSink::close() {
  if (auto ended = pump({}, true); !ended) return ended;
  return sink_.close();
}

struct GzipSink::State {
  z_stream stream{};
  std::vector<char> out = std::vector<char>(std::size_t{256} * 1024);
  explicit State(int level) { deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { deflateEnd(&stream); }
};

GzipSink::GzipSink(ByteSink& sink, int level) : sink_(sink), state_(std::make_unique<State>(level)) {}
GzipSink::~GzipSink() = default;

Status GzipSink::pump(Bytes bytes, bool end) {
  z_stream& stream = state_->stream;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = clamp_unsigned(bytes.size());
  for (;;) {
    stream.next_out = reinterpret_cast<Bytef*>(state_->out.data());
    stream.avail_out = clamp_unsigned(state_->out.size());
    const int code = deflate(&stream, end ? Z_FINISH : Z_NO_FLUSH);
    if (code == Z_STREAM_ERROR) return make_error("gzip: cannot compress");
    const std::size_t produced = state_->out.size() - stream.avail_out;
    if (produced > 0) {
      if (auto wrote = sink_.write({state_->out.data(), produced}); !wrote) return wrote;
    }
    if (end ? code == Z_STREAM_END : stream.avail_in == 0 && stream.avail_out > 0) return {};
  }
}

Status GzipSink::write(Bytes bytes) { return pump(bytes, false); }
Status GzipSink::close() {
  if (auto ended = pump({}, true); !ended) return ended;
  return sink_.close();
}

}  // namespace taskmill::archive
