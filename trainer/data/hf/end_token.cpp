#include "trainer/data/hf/end_token.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "common/check.h"
#include "common/error.h"
#include "common/json_field.h"
#include "common/sentence.h"
#include "common/wording.h"

namespace enodia {
namespace {

namespace fs = std::filesystem;

constexpr std::array kUsualNames{"<|endoftext|>", "</s>", "<|end_of_text|>", "<|im_end|>", "<eos>"};

std::optional<Json> read_json_if_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error) ? std::optional(read_json(path)) : std::nullopt;
}

/// eos_token of tokenizer_config.json: a text, or an object with a `content`.
std::optional<std::string> named_end_token(const HfPipeline& pipeline, const fs::path& path) {
  const auto json = read_json_if_there(path);
  if (!json) {
    return std::nullopt;
  }
  const auto field = JsonField(*json, path.string() + ":").find("eos_token");
  if (!field) {
    return std::nullopt;
  }
  std::string token = field->value().is_object() ? field->at("content").text() : field->text();
  if (pipeline.id_of(token) < 0) {
    field->fail(quote(token) + " is no token of the tokenizer.json beside it");
  }
  return token;
}

/// eos_token_id of a configuration: a number, or a list of which the first counts.
std::optional<std::string> numbered_end_token(const HfPipeline& pipeline, const fs::path& path) {
  const auto json = read_json_if_there(path);
  if (!json) {
    return std::nullopt;
  }
  const auto field = JsonField(*json, path.string() + ":").find("eos_token_id");
  if (!field || (field->value().is_array() && field->value().empty())) {
    return std::nullopt;
  }
  const int64_t id = field->value().is_array() ? field->elements()[0].count() : field->count();
  const std::string* token = pipeline.token_of(id);
  if (token == nullptr) {
    field->fail(detail::concat(id, " is the id of no token of the tokenizer.json beside it"));
  }
  return *token;
}

std::string usual_end_token(const HfPipeline& pipeline, const fs::path& tokenizer_json) {
  std::vector<std::string> found;
  for (const AddedToken& token : pipeline.added_tokens()) {
    if (token.special && std::count(kUsualNames.begin(), kUsualNames.end(), token.content) > 0) {
      found.push_back(token.content);
    }
  }
  if (found.size() != 1) {
    throw FileError(tokenizer_json.string() + " does not tell which token ends a text" +
                    (found.empty() ? "" : " (" + list_alternatives(found) + "?)") +
                    "; put a tokenizer_config.json with an \"eos_token\" beside it");
  }
  return found.front();
}

}  // namespace

std::string find_end_token(const HfPipeline& pipeline, const fs::path& tokenizer_json) {
  const fs::path folder = tokenizer_json.parent_path();
  auto token = named_end_token(pipeline, folder / "tokenizer_config.json");
  for (const char* name : {"config.json", "generation_config.json"}) {
    if (!token) {
      token = numbered_end_token(pipeline, folder / name);
    }
  }
  return token ? *token : usual_end_token(pipeline, tokenizer_json);
}

}  // namespace enodia
