#include "trainer/data/prepare.h"

#include <array>
#include <optional>

#include "common/check.h"
#include "common/error.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "trainer/data/documents.h"
#include "trainer/data/indexed_dataset_writer.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

void check(const PrepareOptions& options) {
  if (options.inputs.empty() || options.output.empty()) {
    throw ConfigError("prepare needs at least one --input file and an --output prefix");
  }
  if (!options.tokenizer.empty() && options.vocab_size != 0) {
    throw ConfigError(
        "--vocab-size is for a tokenizer that is trained; leave it out with "
        "--tokenizer " +
        options.tokenizer);
  }
  if (options.vocab_size < 0 || options.vocab_size > (1 << 24)) {
    throw ConfigError(
        detail::concat("--vocab-size (", options.vocab_size, ") must lie between 1 and 16777216"));
  }
}

fs::path folder_of(const std::string& prefix) {
  const fs::path folder = fs::path(prefix).parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw FileError("cannot make the folder " + folder.string() + ": " + error.message());
  }
}

std::unique_ptr<Tokenizer> make_tokenizer(const PrepareOptions& options) {
  if (!options.tokenizer.empty()) {
    return load_tokenizer(options.tokenizer);
  }
  const int64_t vocab_size =
      options.vocab_size != 0 ? options.vocab_size : PrepareOptions::kDefaultVocabSize;
  log_info(detail::concat("training a tokenizer of ", vocab_size, " pieces"));
  return tokenizer_from_blob(train_sentencepiece(options.inputs, vocab_size), "the new tokenizer");
}

void encode_documents(const PrepareOptions& options,
                      const Tokenizer& tokenizer,
                      IndexedDatasetWriter& writer,
                      PrepareSummary& summary) {
  const std::array eos{tokenizer.eos_id()};
  for (const fs::path& input : options.inputs) {
    for_each_document(input, [&](std::string_view text) {
      if (text.empty()) {
        ++summary.empty_documents;
        return;
      }
      tokenizer.encode_to(text, [&](std::span<const int64_t> ids) { writer.append(ids); });
      writer.add_document(eos);
      summary.text_bytes += static_cast<int64_t>(text.size());
    });
  }
  summary.documents = writer.num_documents();
  summary.tokens = writer.num_tokens();
}

/// Whether a file of the user's holds the whole tokenizer. A newly trained one, and one that was
/// put together from the files of a folder, is written beside the data instead.
bool is_file_of(const Tokenizer& tokenizer, const std::string& path) {
  std::error_code error;
  return path == "byte" ||
         (fs::is_regular_file(path, error) && read_file(path) == tokenizer.blob());
}

/// How PREFIX.json names the tokenizer: relative to itself, so that a folder may move.
std::string name_beside(const std::string& tokenizer, const std::string& prefix) {
  if (tokenizer == "byte") {
    return tokenizer;
  }
  std::error_code error;
  const fs::path name = fs::proximate(tokenizer, folder_of(prefix), error);
  return error ? fs::absolute(tokenizer).string() : name.string();
}

/// The fields of a PREFIX.json, each read with a check of its type.
class Description {
 public:
  explicit Description(std::string path) : path_(std::move(path)), json_(read_json(path_)) {}

  std::string text(const char* key) const {
    if (!json_.is_object() || !json_.contains(key) || !json_[key].is_string()) {
      fail(std::string("the string '") + key + "' is missing");
    }
    return json_[key].get<std::string>();
  }

  int64_t number(const char* key, int64_t smallest) const {
    const bool there = json_.is_object() && json_.contains(key) && json_[key].is_number_integer();
    if (!there || json_[key].get<int64_t>() < smallest) {
      fail(detail::concat("'", key, "' is no whole number of ", smallest, " or more"));
    }
    return json_[key].get<int64_t>();
  }

  void expect_equal(const std::string& what, int64_t described, int64_t found) const {
    if (described != found) {
      fail(detail::concat(what, " ", described, " here and ", found, " in the files beside it"));
    }
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw FileError(path_ + ": " + what + "; run enodia prepare again");
  }

 private:
  std::string path_;
  Json json_;
};

std::shared_ptr<const Tokenizer> load_described_tokenizer(const Description& description,
                                                          const std::string& prefix) {
  std::string path = description.text("tokenizer");
  if (path != "byte") {
    path = (folder_of(prefix) / path).string();
    std::error_code error;
    if (!fs::exists(path, error)) {
      return nullptr;
    }
  }
  std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(path);
  if (tokenizer->hash() != description.text("tokenizer_hash")) {
    description.fail("the tokenizer " + path + " has the hash " + tokenizer->hash() +
                     ", the data set was made with " + description.text("tokenizer_hash"));
  }
  description.expect_equal(
      "vocab_size is", description.number("vocab_size", 1), tokenizer->vocab_size());
  description.expect_equal("eos_id is", description.number("eos_id", 0), tokenizer->eos_id());
  return tokenizer;
}

}  // namespace

PrepareSummary prepare_dataset(const PrepareOptions& options) {
  check(options);
  make_folder(folder_of(options.output));
  const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(options);
  const bool stays = is_file_of(*tokenizer, options.tokenizer);

  PrepareSummary summary;
  summary.tokenizer = stays ? options.tokenizer : options.output + ".model";
  summary.vocab_size = tokenizer->vocab_size();
  IndexedDatasetWriter writer(options.output, tokenizer->vocab_size());
  encode_documents(options, *tokenizer, writer, summary);
  if (summary.documents == 0) {
    throw FileError(detail::concat(
        "the input holds no text: ", summary.empty_documents, " documents, all empty"));
  }

  // An older description goes first and the new one comes last: whatever happens in between, no
  // PREFIX.json describes files that it does not belong to.
  fs::remove(options.output + ".json");
  if (!stays) {
    write_file_atomically(summary.tokenizer, tokenizer->blob());
  }
  writer.finish();
  const Json description{{"tokenizer", name_beside(summary.tokenizer, options.output)},
                         {"tokenizer_hash", tokenizer->hash()},
                         {"vocab_size", tokenizer->vocab_size()},
                         {"eos_id", tokenizer->eos_id()},
                         {"documents", summary.documents},
                         {"tokens", summary.tokens},
                         {"text_bytes", summary.text_bytes}};
  write_file_atomically(options.output + ".json", description.dump(2) + "\n");
  return summary;
}

PreparedData open_prepared(const std::string& prefix) {
  std::error_code ignored;
  if (!std::filesystem::exists(prefix + ".json", ignored)) {
    throw FileError("there is no data set " + prefix + " (" + prefix +
                    ".json is missing); write it with enodia prepare --output " + prefix);
  }
  const Description description(prefix + ".json");
  const int64_t vocab_size = description.number("vocab_size", 1);
  PreparedData prepared{
      .dataset = IndexedDataset(prefix, vocab_size),
      .tokenizer = load_described_tokenizer(description, prefix),
      .tokenizer_hash = description.text("tokenizer_hash"),
      .vocab_size = vocab_size,
      .eos_id = description.number("eos_id", 0),
      .text_bytes = description.number("text_bytes", 0),
  };
  description.expect_equal(
      "documents are", description.number("documents", 0), prepared.dataset.num_documents());
  description.expect_equal(
      "tokens are", description.number("tokens", 0), prepared.dataset.num_tokens());
  return prepared;
}

}  // namespace enodia
