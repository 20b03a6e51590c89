#include "trainer/data/prepare.h"

#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

#include "checkpoint/hf/hf_folder.h"
#include "common/error.h"
#include "common/json.h"
#include "trainer/commands/commands.h"
#include "trainer/state/stored_model.h"

namespace enodia {

namespace {

/// A model's own tokenizer: of a run directory or a folder of checkpoints the newest one's.
std::string find_tokenizer(const std::string& argument) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path path(argument);
  const bool is_model = fs::is_directory(path, ignored) &&
                        !fs::exists(path / "tokenizer.json", ignored) &&
                        !fs::exists(path / "tokenizer.model", ignored) && !is_hf_folder(path);
  return is_model ? find_checkpoint(argument).string() : argument;
}

}  // namespace

void prepare(const PrepareArguments& arguments) {
  if (arguments.output.empty() || arguments.output.ends_with('/')) {
    throw ConfigError("--output '" + arguments.output +
                      "' is a folder; give a prefix for the files, as in data/mine");
  }
  PrepareOptions options;
  options.inputs.assign(arguments.inputs.begin(), arguments.inputs.end());
  options.output = arguments.output;
  options.tokenizer = find_tokenizer(arguments.tokenizer);
  options.vocab_size = arguments.vocab_size;
  const PrepareSummary summary = prepare_dataset(options);
  if (arguments.json) {
    const Json json = {{"tokenizer", summary.tokenizer},
                       {"vocab_size", summary.vocab_size},
                       {"documents", summary.documents},
                       {"empty_documents", summary.empty_documents},
                       {"tokens", summary.tokens},
                       {"text_bytes", summary.text_bytes}};
    std::puts(json.dump().c_str());
    return;
  }
  std::printf("%s: %lld documents, %lld tokens of %lld bytes (tokenizer %s, vocabulary %lld)\n",
              arguments.output.c_str(),
              static_cast<long long>(summary.documents),
              static_cast<long long>(summary.tokens),
              static_cast<long long>(summary.text_bytes),
              summary.tokenizer.c_str(),
              static_cast<long long>(summary.vocab_size));
  if (summary.empty_documents > 0) {
    std::printf("%lld empty documents were left out\n",
                static_cast<long long>(summary.empty_documents));
  }
}

}  // namespace enodia
