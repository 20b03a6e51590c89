#include "trainer/data/hf/tokenizer_bundle.h"

#include <algorithm>
#include <array>

#include "common/error.h"
#include "common/file.h"
#include "common/json_field.h"
#include "common/wording.h"
#include "trainer/data/documents.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBeginning = R"({"format":"enodia-hf-tokenizer",)";
constexpr std::string_view kMain = "tokenizer.json";
constexpr std::array<std::string_view, 7> kCompanions{"tokenizer_config.json",
                                                      "special_tokens_map.json",
                                                      "added_tokens.json",
                                                      "vocab.json",
                                                      "merges.txt",
                                                      "chat_template.jinja",
                                                      "generation_config.json"};

}  // namespace

std::vector<TokenizerFile> read_companions(const fs::path& folder) {
  constexpr int64_t kMaxBytes = int64_t{64} << 20;
  std::vector<TokenizerFile> companions;
  for (const std::string_view name : kCompanions) {
    const fs::path path = folder / name;
    std::error_code error;
    if (!fs::exists(path, error)) {
      continue;
    }
    std::string content = read_file(path, kMaxBytes);
    if (find_invalid_utf8(content) != content.size()) {
      throw FileError(path.string() +
                      " is not UTF-8; repair it, or take it out of the tokenizer's folder");
    }
    companions.push_back({std::string(name), std::move(content)});
  }
  return companions;
}

bool is_bundle(std::string_view text) {
  return text.starts_with(kBeginning);
}

std::string write_bundle(const TokenizerBundle& bundle) {
  Json files = Json::object();
  for (const TokenizerFile& file : bundle.files) {
    files[file.name] = file.content;
  }
  return Json{{"format", "enodia-hf-tokenizer"},
              {"eos_token", bundle.eos_token},
              {"files", std::move(files)}}
      .dump();
}

TokenizerBundle read_bundle(std::string_view text, const std::string& source) {
  const Json json = parse_json(text, source);
  const JsonField root(json, source + ":");
  TokenizerBundle bundle;
  bundle.eos_token = root.at("eos_token").text();
  const JsonField files = root.at("files");
  bundle.files.push_back({std::string(kMain), files.at(kMain).text()});
  for (const auto& [name, content] : files.value().items()) {
    if (name == kMain) {
      continue;
    }
    // Names become paths when the files are written out again.
    if (std::count(kCompanions.begin(), kCompanions.end(), name) == 0) {
      files.fail("has the file " + quote(name) + ", which belongs to no tokenizer");
    }
    bundle.files.push_back({name, files.at(name).text()});
  }
  return bundle;
}

}  // namespace enodia
