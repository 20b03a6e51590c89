#include "trainer/data/tokenizer.h"

#include <algorithm>

#include "common/check.h"
#include "common/error.h"
#include "common/file.h"
#include "common/hash.h"
#include "trainer/data/hf/hf_tokenizer.h"
#include "trainer/data/sentencepiece_tokenizer.h"
#include "trainer/data/tokenizer_export.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kByteName = "byte";
constexpr std::string_view kJsonName = "tokenizer.json";
constexpr std::string_view kModelName = "tokenizer.model";
constexpr int64_t kMaxModelBytes = int64_t{1} << 28;

/// The 256 bytes and EOS.
class ByteTokenizer : public Tokenizer {
 public:
  void encode_to(std::string_view text, const IdSink& sink) const override {
    constexpr size_t kIdsAtOnce = 4096;
    std::vector<int64_t> ids;
    for (size_t start = 0; start < text.size(); start += kIdsAtOnce) {
      const std::string_view part = text.substr(start, kIdsAtOnce);
      ids.resize(part.size());
      std::transform(
          part.begin(), part.end(), ids.begin(), [](char c) { return static_cast<uint8_t>(c); });
      sink(ids);
    }
  }

  std::string decode(std::span<const int64_t> ids) const override {
    std::string text;
    text.reserve(ids.size());
    for (const int64_t id : ids) {
      ENODIA_CHECK(id >= 0 && id < vocab_size(), "id ", id, " of a vocabulary of ", vocab_size());
      if (id != eos_id()) {
        text.push_back(static_cast<char>(id));
      }
    }
    return text;
  }

  int64_t vocab_size() const override { return 257; }
  int64_t eos_id() const override { return 256; }
  std::string_view name() const override { return kByteName; }
  const std::string& blob() const override { return blob_; }

 private:
  std::string blob_{kByteName};
};

bool gives(const Tokenizer& tokenizer, const std::string& tokenizer_json) {
  const std::vector<TokenizerFile> files = hugging_face_files(tokenizer, 0).files;
  return std::any_of(files.begin(), files.end(), [&](const TokenizerFile& file) {
    return file.name == kJsonName && file.content == tokenizer_json;
  });
}

/// The SentencePiece or byte tokenizer that a folder's tokenizer.json was written of, so that it
/// stays the tokenizer of the data sets made with it; null when it came from elsewhere.
std::unique_ptr<Tokenizer> find_exported(const fs::path& folder) {
  const std::string json = read_file(folder / kJsonName, kMaxModelBytes);
  auto bytes = std::make_unique<ByteTokenizer>();
  if (gives(*bytes, json)) {
    return bytes;
  }
  std::error_code error;
  if (!fs::exists(folder / kModelName, error)) {
    return nullptr;
  }
  try {
    auto pieces = load_tokenizer((folder / kModelName).string());
    return gives(*pieces, json) ? std::move(pieces) : nullptr;
  } catch (const FileError&) {  // another kind of tokenizer.model: the JSON is what counts
    return nullptr;
  }
}

}  // namespace

std::string Tokenizer::hash() const {
  return hash_of(blob().data(), blob().size());
}

std::vector<int64_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int64_t> all;
  encode_to(text, [&all](std::span<const int64_t> ids) {
    all.insert(all.end(), ids.begin(), ids.end());
  });
  return all;
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& name_or_path) {
  if (name_or_path == kByteName) {
    return std::make_unique<ByteTokenizer>();
  }
  std::error_code error;
  if (fs::is_directory(name_or_path, error)) {
    if (auto tokenizer = find_folder_tokenizer(name_or_path)) {
      return tokenizer;
    }
    throw FileError("the folder " + name_or_path +
                    " holds no tokenizer: neither a tokenizer.json nor a tokenizer.model");
  }
  std::string content = read_file(name_or_path, kMaxModelBytes);
  // A file called .json is judged as JSON, however little it looks like it.
  const size_t start = content.find_first_not_of(" \t\r\n");
  const bool is_json = fs::path(name_or_path).extension() == ".json" ||
                       (start != std::string::npos && content[start] == '{');
  return is_json && !is_hf_blob(content) ? load_hf_tokenizer(name_or_path)
                                         : tokenizer_from_blob(std::move(content), name_or_path);
}

std::unique_ptr<Tokenizer> find_folder_tokenizer(const fs::path& folder) {
  for (const std::string_view name : {kJsonName, kModelName}) {
    std::error_code error;
    if (fs::exists(folder / name, error)) {
      if (auto exported = name == kJsonName ? find_exported(folder) : nullptr) {
        return exported;
      }
      return load_tokenizer((folder / name).string());
    }
  }
  return nullptr;
}

std::unique_ptr<Tokenizer> tokenizer_from_blob(std::string blob, const std::string& source) {
  if (blob == kByteName) {
    return std::make_unique<ByteTokenizer>();
  }
  return is_hf_blob(blob) ? hf_tokenizer_from_blob(std::move(blob), source)
                          : make_sentencepiece(std::move(blob), source);
}

}  // namespace enodia
