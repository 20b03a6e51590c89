#include "trainer/metrics/tensorboard_file.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "common/error.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";

/// CRC-32C (Castagnoli), reflected, a byte at a time.
uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < table.size(); ++i) {
      uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) {
        crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0U);
      }
      table[i] = crc;
    }
    return table;
  }();
  uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU] ^ (crc >> 8);
  }
  return ~crc;
}

/// The value's bytes as they lie in memory: TFRecord and protobuf are little-endian, as x86_64 is.
template <typename T>
std::string fixed(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

/// TFRecord masks its checksums, so that the checksum of data that holds checksums is sound.
std::string masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return fixed(((crc >> 15) | (crc << 17)) + 0xA282EAD8U);
}

std::string record(std::string_view data) {
  const std::string length = fixed(static_cast<uint64_t>(data.size()));
  return length + masked_crc(length) + std::string(data) + masked_crc(data);
}

/// Fields of protobuf messages: the key (number and wire type), then the value.
enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) {
    bytes.push_back(static_cast<char>((value & 0x7F) | 0x80));
  }
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
std::string key(uint64_t number, WireType type) {
  return varint(number << 3 | type);
}
std::string field(uint64_t number, double value) {
  return key(number, kFixed64) + fixed(value);
}
std::string field(uint64_t number, float value) {
  return key(number, kFixed32) + fixed(value);
}
std::string field(uint64_t number, int64_t value) {
  return key(number, kVarint) + varint(static_cast<uint64_t>(value));
}
std::string field(uint64_t number, std::string_view bytes) {
  return key(number, kBytes) + varint(bytes.size()) + std::string(bytes);
}

// tensorflow/core/util/event.proto: Event {double wall_time = 1; int64 step = 2;
// string file_version = 3; Summary summary = 5; SessionLog session_log = 7}; SessionLog {status =
// 1} with START = 1. summary.proto: Summary {repeated Value value = 1}; Value {string tag = 1;
// float simple_value = 2}.
std::string version_event(double wall_time) {
  return field(1, wall_time) + field(3, std::string_view("brain.Event:2"));
}
std::string start_event(double wall_time, int64_t step) {
  return field(1, wall_time) + field(2, step) + field(7, field(1, int64_t{1}));
}
std::string summary_event(double wall_time, int64_t step, std::span<const Scalar> scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    summary += field(1, field(1, std::string_view(tag)) + field(2, static_cast<float>(value)));
  }
  return field(1, wall_time) + field(2, step) + field(5, summary);
}

/// The path of the next file: its name holds the time, as TensorFlow's do, or one more than the
/// newest file's when the clock has not moved on since.
fs::path next_path(const fs::path& folder, double wall_time) {
  auto number = static_cast<long long>(wall_time);
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    long long taken = 0;
    if (name.starts_with(kPrefix) &&
        std::sscanf(name.c_str() + kPrefix.size(), "%10lld", &taken) == 1) {
      number = std::max(number, taken + 1);
    }
  }
  std::array<char, 32> digits{};
  std::snprintf(digits.data(), digits.size(), "%010lld", number);
  return folder / (std::string(kPrefix) + digits.data() + ".enodia");
}

}  // namespace

TensorBoardFile::TensorBoardFile(const fs::path& folder, int64_t first_step, double wall_time) {
  try {
    fs::create_directories(folder);
    path_ = next_path(folder, wall_time);
  } catch (const fs::filesystem_error& error) {
    throw FileError("cannot write " + folder.string() + ": " + error.code().message() +
                    "; check that the run directory is writable or set run.tensorboard to false");
  }
  file_.open(path_, std::ios::binary);
  write(version_event(wall_time));
  write(start_event(wall_time, first_step + 1));
}

void TensorBoardFile::append(int64_t step, double wall_time, std::span<const Scalar> scalars) {
  write(summary_event(wall_time, step, scalars));
}

void TensorBoardFile::write(std::string_view event) {
  file_ << record(event) << std::flush;
  if (!file_) {
    throw FileError("cannot write " + path_.string() +
                    "; is the disk full? run.tensorboard: false does without it");
  }
}

}  // namespace enodia
