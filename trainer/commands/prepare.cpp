#include "trainer/data/prepare.h"

#include <cstdio>

#include "common/error.h"
#include "common/json.h"
#include "trainer/commands/commands.h"

namespace enodia {

void prepare(const PrepareArguments& arguments) {
  if (arguments.output.empty() || arguments.output.ends_with('/')) {
    throw ConfigError("--output '" + arguments.output +
                      "' is a folder; give a prefix for the files, as in data/mine");
  }
  PrepareOptions options;
  options.inputs.assign(arguments.inputs.begin(), arguments.inputs.end());
  options.output = arguments.output;
  options.tokenizer = arguments.tokenizer;
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
