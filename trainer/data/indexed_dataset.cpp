#include "trainer/data/indexed_dataset.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

#include "common/check.h"
#include "common/error.h"
#include "common/hash.h"

namespace enodia {
namespace {

// The fields are copied from the file as they lie.
static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic("MMIDIDX\0\0", 9);

/// Walks over a mapped .idx; every step is checked against the end of the file.
class IndexReader {
 public:
  IndexReader(const MappedFile& file, std::string name) : file_(file), name_(std::move(name)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(name_ + ": " + what + "; prepare the data again");
  }

  /// Moves past `count` elements and returns where they start.
  const std::byte* take(int64_t count, int64_t element_bytes, const char* field) {
    const int64_t left = file_.size() - position_;
    if (count < 0 || count > left / element_bytes) {
      fail(detail::concat("the file ends inside ",
                          field,
                          ": ",
                          count,
                          " x ",
                          element_bytes,
                          " bytes are promised at byte ",
                          position_,
                          " and ",
                          left,
                          " are there"));
    }
    const std::byte* start = file_.data() + position_;
    position_ += count * element_bytes;
    return start;
  }

  template <typename T>
  T take_one(const char* field) {
    T value;
    std::memcpy(&value, take(1, sizeof(T), field), sizeof(T));
    return value;
  }

  /// A count as the file's unsigned 64-bit number.
  int64_t take_count(const char* field) {
    const auto value = take_one<uint64_t>(field);
    if (value > static_cast<uint64_t>(file_.size())) {
      fail(detail::concat(
          field, " (", value, ") is more than a file of ", file_.size(), " bytes can hold"));
    }
    return static_cast<int64_t>(value);
  }

  int64_t bytes_left() const { return file_.size() - position_; }

 private:
  const MappedFile& file_;
  std::string name_;
  int64_t position_ = 0;
};

template <typename T>
T element(const std::byte* array, int64_t index) {
  T value;  // the arrays start at byte 34: not aligned
  std::memcpy(&value, array + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

int64_t bytes_of(TokenType type) {
  switch (type) {
    case TokenType::kUInt8:
    case TokenType::kInt8:
      return 1;
    case TokenType::kInt16:
    case TokenType::kUInt16:
      return 2;
    case TokenType::kInt32:
      return 4;
    case TokenType::kInt64:
      return 8;
  }
  return 0;
}

TokenType read_type(IndexReader& index) {
  const auto code = index.take_one<uint8_t>("the dtype code");
  if (code == 6 || code == 7) {
    index.fail(detail::concat("dtype code ", int{code}, " means floats, which are no token ids"));
  }
  const auto type = static_cast<TokenType>(code);
  if (bytes_of(type) == 0) {
    index.fail(detail::concat("unknown dtype code ", int{code}, "; 1 to 5 and 8 are token ids"));
  }
  return type;
}

void read_header(IndexReader& index) {
  const std::byte* magic = index.take(static_cast<int64_t>(kMagic.size()), 1, "the magic");
  if (std::memcmp(magic, kMagic.data(), kMagic.size()) != 0) {
    index.fail("it does not begin with MMIDIDX, so it is no Megatron index");
  }
  const auto version = index.take_one<uint64_t>("the version");
  if (version != 1) {
    index.fail(detail::concat("version ", version, " is unknown; version 1 is read here"));
  }
}

/// The arrays of a checked index; they point into the mapped file.
struct IndexArrays {
  TokenType type;
  int64_t num_sequences;
  int64_t num_documents;
  const std::byte* lengths;    ///< int32
  const std::byte* offsets;    ///< int64, bytes
  const std::byte* documents;  ///< int64, [num_documents + 1]
};

IndexArrays read_arrays(IndexReader& index) {
  IndexArrays arrays{};
  read_header(index);
  arrays.type = read_type(index);
  arrays.num_sequences = index.take_count("the number of sequences");
  const int64_t entries = index.take_count("the number of document entries");
  if (entries < 1) {
    index.fail("the document index has no entry; its first must be 0");
  }
  arrays.num_documents = entries - 1;
  arrays.lengths = index.take(arrays.num_sequences, sizeof(int32_t), "the sequence lengths");
  arrays.offsets = index.take(arrays.num_sequences, sizeof(int64_t), "the sequence offsets");
  arrays.documents = index.take(entries, sizeof(int64_t), "the document index");
  if (index.bytes_left() != 0) {
    index.fail(detail::concat(index.bytes_left(), " bytes follow the document index"));
  }
  return arrays;
}

/// A sparse file may promise what would take hours to read: the tokens that are there bound how
/// many sequences and documents there can be. Some may be empty, but not most of them.
void check_counts(const IndexReader& index, const IndexArrays& arrays, int64_t bin_bytes) {
  constexpr int64_t kFree = 1000;  // so that small data sets may be as odd as they like
  if (arrays.num_sequences / 2 > bin_bytes / bytes_of(arrays.type) + kFree ||
      arrays.num_documents / 2 > arrays.num_sequences + kFree) {
    index.fail(detail::concat(arrays.num_documents,
                              " documents of ",
                              arrays.num_sequences,
                              " sequences are promised for ",
                              bin_bytes,
                              " bytes of tokens: most would be empty"));
  }
}

/// Checks that the document index climbs from 0 to the number of sequences.
void check_documents(const IndexReader& index, const IndexArrays& arrays) {
  int64_t previous = 0;
  for (int64_t d = 0; d <= arrays.num_documents; ++d) {
    const auto entry = element<int64_t>(arrays.documents, d);
    if ((d == 0 && entry != 0) || entry < previous || entry > arrays.num_sequences) {
      index.fail(detail::concat("entry ",
                                d,
                                " of the document index is ",
                                entry,
                                " after ",
                                previous,
                                "; it must climb from 0 to the ",
                                arrays.num_sequences,
                                " sequences"));
    }
    previous = entry;
  }
  if (previous != arrays.num_sequences) {
    index.fail(detail::concat(
        "the document index ends at ", previous, " of ", arrays.num_sequences, " sequences"));
  }
}

/// Checks that the sequences lie one after the other and returns the token offset of each document.
std::vector<int64_t> read_document_offsets(const IndexReader& index,
                                           const IndexArrays& arrays,
                                           int64_t bin_bytes) {
  const int64_t token_bytes = bytes_of(arrays.type);
  const int64_t max_tokens = bin_bytes / token_bytes;
  std::vector<int64_t> offsets;
  offsets.reserve(static_cast<size_t>(arrays.num_documents) + 1);
  offsets.push_back(0);
  int64_t tokens = 0;
  int64_t sequence = 0;
  for (int64_t d = 1; d <= arrays.num_documents; ++d) {
    for (const auto end = element<int64_t>(arrays.documents, d); sequence < end; ++sequence) {
      const auto length = element<int32_t>(arrays.lengths, sequence);
      const auto offset = element<int64_t>(arrays.offsets, sequence);
      if (length < 0 || length > max_tokens - tokens) {
        index.fail(detail::concat("sequence ",
                                  sequence,
                                  " has ",
                                  length,
                                  " tokens from token ",
                                  tokens,
                                  " on, and the .bin holds ",
                                  max_tokens,
                                  " tokens"));
      }
      if (offset != tokens * token_bytes) {
        index.fail(detail::concat("sequence ",
                                  sequence,
                                  " lies at byte ",
                                  offset,
                                  " of the .bin; after those before it, it must lie at ",
                                  tokens * token_bytes));
      }
      tokens += length;
    }
    offsets.push_back(tokens);
  }
  if (tokens * token_bytes != bin_bytes) {
    index.fail(detail::concat(
        "the sequences cover ", tokens * token_bytes, " bytes, the .bin has ", bin_bytes));
  }
  return offsets;
}

template <typename T>
void widen(const std::byte* bin, int64_t first, std::span<int64_t> out) {
  const auto* ids = reinterpret_cast<const T*>(bin) + first;  // a map starts on a page: aligned
  std::copy_n(ids, out.size(), out.begin());
}

}  // namespace

IndexedDataset::IndexedDataset(const std::string& prefix, int64_t vocab_size)
    : prefix_(prefix),
      vocab_size_(vocab_size) {
  const std::string index_name = prefix + ".idx";
  const MappedFile index_file(index_name);
  IndexReader index(index_file, index_name);
  const IndexArrays arrays = read_arrays(index);
  type_ = arrays.type;
  bin_ = std::make_unique<MappedFile>(prefix + ".bin");
  check_counts(index, arrays, bin_->size());
  check_documents(index, arrays);
  document_offsets_ = read_document_offsets(index, arrays, bin_->size());
}

void IndexedDataset::read(int64_t first_token, std::span<int64_t> out) const {
  const auto count = static_cast<int64_t>(out.size());
  ENODIA_CHECK(first_token >= 0 && count <= num_tokens() - first_token,
               "tokens ",
               first_token,
               " + ",
               count,
               " of ",
               num_tokens());
  if (count == 0) {
    return;
  }
  switch (type_) {
    case TokenType::kUInt8:
      widen<uint8_t>(bin_->data(), first_token, out);
      break;
    case TokenType::kInt8:
      widen<int8_t>(bin_->data(), first_token, out);
      break;
    case TokenType::kInt16:
      widen<int16_t>(bin_->data(), first_token, out);
      break;
    case TokenType::kInt32:
      widen<int32_t>(bin_->data(), first_token, out);
      break;
    case TokenType::kInt64:
      widen<int64_t>(bin_->data(), first_token, out);
      break;
    case TokenType::kUInt16:
      widen<uint16_t>(bin_->data(), first_token, out);
      break;
  }
  const auto bad = std::find_if(out.begin(), out.end(), [this](int64_t id) {
    return id < 0 || (vocab_size_ > 0 && id >= vocab_size_);
  });
  if (bad != out.end()) {
    throw FileError(detail::concat(
        prefix_,
        ".bin: token ",
        first_token + (bad - out.begin()),
        " has the id ",
        *bad,
        vocab_size_ > 0 ? detail::concat(", outside the vocabulary of ", vocab_size_) : ", below 0",
        "; the data set belongs to another tokenizer or is damaged"));
  }
}

std::string IndexedDataset::fingerprint() const {
  constexpr int64_t kEdgeBytes = int64_t{1} << 20;
  const MappedFile index(prefix_ + ".idx");
  const int64_t edge = std::min(kEdgeBytes, bin_->size());
  Hasher hasher;
  hasher.update(index.data(), static_cast<size_t>(index.size()));
  hasher.update(bin_->data(), static_cast<size_t>(edge));
  if (edge > 0) {
    hasher.update(bin_->data() + (bin_->size() - edge), static_cast<size_t>(edge));
  }
  return hasher.hex();
}

}  // namespace enodia
