#include "trainer/data/sentencepiece_tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <unordered_map>

#include "common/check.h"
#include "common/error.h"
#include "common/random.h"
#include "trainer/data/documents.h"
#include "trainer/data/sentencepiece_spec.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

namespace enodia {
namespace {

constexpr std::string_view kUnknownSymbol = "\xE2\x96\x85";  // U+2585 is reserved in training

/// Where to cut, at least `at_least` bytes in: before a newline, or before a space that follows
/// something else; the end when there is no such place. No piece crosses it (checked for each
/// model), so the ids of the parts, put together, are the ids of the whole.
size_t part_length(std::string_view text, size_t at_least) {
  for (size_t i = std::max<size_t>(at_least, 1); i < text.size(); ++i) {
    if (text[i] == '\n' || (text[i] == ' ' && text[i - 1] != ' ')) {
      return i;
    }
  }
  return text.size();
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string model, const std::string& source) : blob_(std::move(model)) {
    const auto status = processor_.LoadFromSerializedProto(blob_);
    if (!status.ok() || processor_.GetPieceSize() <= 0) {
      throw FileError(source + " is no SentencePiece model: " + status.ToString());
    }
    if (processor_.eos_id() < 0 || processor_.eos_id() >= processor_.GetPieceSize()) {
      throw FileError(source +
                      " has no end-of-sentence piece, which ends each document; train the model "
                      "with an eos_id");
    }
    is_literal_ = is_literal();
    parts_are_independent_ = is_literal_ && no_piece_crosses_a_part();
  }

  void encode_to(std::string_view text, const IdSink& sink) const override {
    while (!text.empty()) {
      const size_t length = parts_are_independent_ ? part_length(text, kPartBytes) : text.size();
      sink(encode_part(text.substr(0, length)));
      text.remove_prefix(length);
    }
  }

  std::string decode(std::span<const int64_t> ids) const override {
    std::vector<int> narrow;
    narrow.reserve(ids.size());
    for (const int64_t id : ids) {
      ENODIA_CHECK(id >= 0 && id < vocab_size(), "id ", id, " of a vocabulary of ", vocab_size());
      narrow.push_back(static_cast<int>(id));
    }
    std::string text;
    const auto status = processor_.Decode(narrow, &text);
    ENODIA_CHECK(status.ok(), status.ToString());
    return text;
  }

  int64_t vocab_size() const override { return processor_.GetPieceSize(); }
  int64_t eos_id() const override { return processor_.eos_id(); }
  std::string_view name() const override { return "sentencepiece"; }
  const std::string& blob() const override { return blob_; }

 private:
  static constexpr size_t kPartBytes = 1 << 16;

  std::vector<int64_t> encode_part(std::string_view text) const {
    std::vector<int64_t> ids;
    while (is_literal_) {  // a real U+2581 would come back as a space: spell it in bytes
      const size_t found = text.find(kSpaceSymbol);
      if (found == std::string_view::npos) {
        break;
      }
      encode_plain(text.substr(0, found), ids);
      for (const char byte : kSpaceSymbol) {
        ids.push_back(byte_id(byte));
      }
      text.remove_prefix(found + kSpaceSymbol.size());
    }
    encode_plain(text, ids);
    return ids;
  }

  void encode_plain(std::string_view text, std::vector<int64_t>& ids) const {
    std::vector<int> part;
    const auto status = processor_.Encode(text, &part);
    ENODIA_CHECK(status.ok(), status.ToString());
    ids.insert(ids.end(), part.begin(), part.end());
  }

  int byte_id(char byte) const {
    std::array<char, 8> piece{};
    std::snprintf(piece.data(), piece.size(), "<0x%02X>", static_cast<uint8_t>(byte));
    return processor_.PieceToId(piece.data());
  }

  /// Whether text comes back as it went in: no prefix, nothing collapsed, nothing normalized, and
  /// a byte piece for everything unknown. Models from elsewhere often are not; they are used as
  /// they are.
  bool is_literal() const {
    const std::string probe = "a  b\n\tc \xEF\xAC\x81\xEF\xBC\xA1 ";  // a ligature, a wide A
    std::vector<int> ids;
    std::string back;
    std::vector<std::string> pieces;
    return processor_.Encode(probe, &ids).ok() && processor_.Decode(ids, &back).ok() &&
           back == probe && processor_.Encode("a", &pieces).ok() && !pieces.empty() &&
           !pieces.front().starts_with(kSpaceSymbol) && processor_.IsByte(byte_id('\xE2'));
  }

  bool no_piece_crosses_a_part() const {
    for (int id = 0; id < processor_.GetPieceSize(); ++id) {
      const std::string& piece = processor_.IdToPiece(id);
      size_t start = 0;
      while (piece.compare(start, kSpaceSymbol.size(), kSpaceSymbol) == 0) {
        start += kSpaceSymbol.size();
      }
      if (piece.find(kSpaceSymbol, start) != std::string::npos ||
          piece.find('\n') != std::string::npos) {
        return false;
      }
    }
    return true;
  }

  std::string blob_;
  sentencepiece::SentencePieceProcessor processor_;
  bool is_literal_ = false;
  bool parts_are_independent_ = false;
};

/// The trainer's sentences: the lines of the documents, without what the trainer would stumble
/// over. It drops a sentence that is too long or holds a reserved character, silently.
class TrainingText : public sentencepiece::SentenceIterator {
 public:
  static constexpr size_t kMaxSentenceBytes = 8192;

  explicit TrainingText(std::span<const std::filesystem::path> files) {
    constexpr double kMaxBytes = 128.0 * (1 << 20);
    double total = 1.0;
    for (const auto& file : files) {
      std::error_code missing;  // a missing file is reported when it is read
      total += static_cast<double>(std::filesystem::file_size(file, missing));
    }
    keep_ = kMaxBytes / total;
    for (const auto& file : files) {
      for_each_document(file, [this](std::string_view text) { add_document(text); });
    }
  }

  bool empty() const { return sentences_.empty(); }
  bool done() const override { return next_ >= sentences_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return sentences_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void add_document(std::string_view text) {
    constexpr std::string_view kBreaks("\n\t\r\0", 4);
    while (!text.empty()) {
      const size_t length = std::min(text.find_first_of(kBreaks), text.size());
      const double draw = random_uniform(key_, seen_++);
      if (draw < keep_) {
        add_line(text.substr(0, length));
      }
      text.remove_prefix(std::min(length + 1, text.size()));
    }
  }

  void add_line(std::string_view line) {
    while (!line.empty()) {
      const std::string_view head = line.substr(0, kMaxSentenceBytes);
      size_t length = std::min({head.find(kSpaceSymbol), head.find(kUnknownSymbol), head.size()});
      if (length == 0) {
        line.remove_prefix(kSpaceSymbol.size());  // both symbols have three bytes
        continue;
      }
      if (length == head.size() && length < line.size()) {
        length = part_length(head, kMaxSentenceBytes / 2);
        length = length < head.size() ? length : character_start(line, length);
      }
      sentences_.emplace_back(line.substr(0, length));
      line.remove_prefix(length);
    }
  }

  /// The last place at or before `at` where a UTF-8 character begins.
  static size_t character_start(std::string_view text, size_t at) {
    while ((static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) {
      --at;
    }
    return at;
  }

  RandomKey key_ = RandomKey(0).with("tokenizer");
  double keep_ = 1.0;
  uint64_t seen_ = 0;
  size_t next_ = 0;
  std::vector<std::string> sentences_;
};

std::unordered_map<std::string, std::string> training_options(int64_t vocab_size) {
  return {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(vocab_size)},
      {"hard_vocab_limit", "false"},  // the number of pieces is checked by the caller
      {"byte_fallback", "true"},
      {"character_coverage", "0.9995"},
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"allow_whitespace_only_pieces", "true"},
      {"max_sentence_length", std::to_string(TrainingText::kMaxSentenceBytes)},
      {"unk_id", "0"},
      {"eos_id", "1"},
      {"bos_id", "-1"},
      {"pad_id", "-1"},
      {"num_threads", "1"},
      {"minloglevel", "3"},
  };
}

[[noreturn]] void throw_training_failed(int64_t vocab_size, const std::string& reason) {
  // "Vocabulary size is smaller than required_chars. 100 vs 319. ..." names what is needed.
  const std::string marker = detail::concat("required_chars. ", vocab_size, " vs ");
  const size_t found = reason.find(marker);
  if (found == std::string::npos) {
    throw ConfigError(detail::concat("cannot train a tokenizer of vocab_size ",
                                     vocab_size,
                                     " on this text; SentencePiece says: ",
                                     reason));
  }
  throw ConfigError(detail::concat("vocab_size (",
                                   vocab_size,
                                   ") has no room for the 256 bytes and the characters of this "
                                   "text; set it to at least ",
                                   std::atoll(reason.c_str() + found + marker.size())));
}

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece(std::string model, const std::string& source) {
  return std::make_unique<SentencePieceTokenizer>(std::move(model), source);
}

std::string train_sentencepiece(std::span<const std::filesystem::path> files, int64_t vocab_size) {
  TrainingText text(files);
  if (text.empty()) {
    throw FileError("the input holds no text to train a tokenizer on; give a file with text");
  }
  std::string model;
  const auto status =
      sentencepiece::SentencePieceTrainer::Train(training_options(vocab_size), &text, &model);
  if (!status.ok()) {
    throw_training_failed(vocab_size, status.ToString());
  }
  const auto tokenizer = make_sentencepiece(model, "the trained tokenizer");
  if (tokenizer->vocab_size() < vocab_size) {
    throw ConfigError(detail::concat("vocab_size (",
                                     vocab_size,
                                     ") is more than this text supports; give more text or set it "
                                     "to at most ",
                                     tokenizer->vocab_size()));
  }
  return model;
}

}  // namespace enodia
