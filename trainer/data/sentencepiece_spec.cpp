#include "trainer/data/sentencepiece_spec.h"

#include <cstring>

#include "common/error.h"

namespace enodia {
namespace {

/// Reads the fields of a message in protobuf's wire format, one after the other.
class WireReader {
 public:
  WireReader(std::string_view bytes, const std::string& source) : rest_(bytes), source_(source) {}

  /// Steps to the next field; false at the end.
  bool next() {
    if (rest_.empty()) {
      return false;
    }
    const uint64_t tag = take_varint();
    field_ = tag >> 3;
    switch (tag & 7) {
      case 0:
        number_ = take_varint();
        break;
      case 1:
        bytes_ = take(8);
        break;
      case 2:
        bytes_ = take(take_varint());
        break;
      case 5:
        bytes_ = take(4);
        break;
      default:
        fail();
    }
    return true;
  }

  uint64_t field() const { return field_; }
  int64_t number() const { return static_cast<int64_t>(number_); }
  bool flag() const { return number_ != 0; }
  std::string_view bytes() const { return bytes_; }
  WireReader message() const { return WireReader(bytes_, source_); }
  float real() const {
    float value = 0.0F;
    if (bytes_.size() != sizeof(value)) {
      fail();
    }
    std::memcpy(&value, bytes_.data(), sizeof(value));
    return value;
  }

 private:
  [[noreturn]] void fail() const { throw FileError(source_ + " is a damaged SentencePiece model"); }

  uint64_t take_varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1).front());
      value |= uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) {
        return value;
      }
    }
    fail();
  }

  std::string_view take(uint64_t count) {
    if (count > rest_.size()) {
      fail();
    }
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_;
  const std::string& source_;
  uint64_t field_ = 0;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

SentencePieceSpec::Piece read_piece(WireReader reader) {
  SentencePieceSpec::Piece piece;
  while (reader.next()) {
    if (reader.field() == 1) {
      piece.text = reader.bytes();
    } else if (reader.field() == 2) {
      piece.score = reader.real();
    } else if (reader.field() == 3) {
      piece.type = reader.number();
    }
  }
  return piece;
}

void read_trainer(WireReader reader, SentencePieceSpec& spec) {
  while (reader.next()) {
    if (reader.field() == 3) {
      spec.model_type = reader.number();
    } else if (reader.field() == 24) {
      spec.whitespace_is_suffix = reader.flag();
    }
  }
}

void read_normalizer(WireReader reader, SentencePieceSpec& spec) {
  while (reader.next()) {
    if (reader.field() == 2) {
      spec.has_character_map = !reader.bytes().empty();
    } else if (reader.field() == 3) {
      spec.add_dummy_prefix = reader.flag();
    } else if (reader.field() == 4) {
      spec.remove_extra_whitespaces = reader.flag();
    } else if (reader.field() == 5) {
      spec.escape_whitespaces = reader.flag();
    }
  }
}

}  // namespace

SentencePieceSpec read_sentencepiece_spec(std::string_view model, const std::string& source) {
  SentencePieceSpec spec;
  for (WireReader reader(model, source); reader.next();) {
    if (reader.field() == 1) {
      spec.pieces.push_back(read_piece(reader.message()));
    } else if (reader.field() == 2) {
      read_trainer(reader.message(), spec);
    } else if (reader.field() == 3) {
      read_normalizer(reader.message(), spec);
    }
  }
  return spec;
}

}  // namespace enodia
