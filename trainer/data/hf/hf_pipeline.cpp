#include "trainer/data/hf/hf_pipeline.h"

#include <algorithm>
#include <array>

#include "common/check.h"
#include "common/json_field.h"
#include "common/wording.h"
#include "trainer/data/documents.h"
#include "trainer/data/hf/byte_pair_encoder.h"
#include "trainer/data/hf/unicode.h"

namespace enodia {
namespace {

/// The part built from the member, or one that does nothing when it is null or absent.
template <typename Part>
Part part_of(const JsonField& file, std::string_view key) {
  const auto description = file.find(key);
  return description ? Part(*description) : Part();
}

/// What comes after encoding (post_processor) or makes texts equally long (truncation, padding) has
/// no part in ids here, but must be of the right kind.
void check_idle_parts(const JsonField& file) {
  for (const char* key : {"truncation", "padding", "post_processor"}) {
    const auto part = file.find(key);
    if (part && !part->value().is_object()) {
      part->fail("must be an object or null");
    }
  }
  if (const auto processor = file.find("post_processor")) {
    processor->at("type").text();
  }
}

/// As Hugging Face's tokenizers: one version, and no keys but these.
const Json& checked(const Json& json, const std::string& source) {
  constexpr std::array<std::string_view, 9> kKeys{"version",
                                                  "truncation",
                                                  "padding",
                                                  "added_tokens",
                                                  "normalizer",
                                                  "pre_tokenizer",
                                                  "post_processor",
                                                  "decoder",
                                                  "model"};
  const JsonField file(json, source + ":");
  const auto version = file.find("version");
  if (version && version->text() != "1.0") {
    version->fail("is " + quote(version->text()) + ", but only version 1.0 is known");
  }
  check_idle_parts(file);
  for (const auto& [key, value] : json.items()) {
    if (std::count(kKeys.begin(), kKeys.end(), key) == 0) {
      file.fail("has the key " + quote(key) + ", which is not known");
    }
  }
  return json;
}

/// `added_tokens`, which may be left out.
JsonField list_of_added_tokens(const JsonField& file) {
  static const Json none = Json::array();
  return file.find("added_tokens").value_or(JsonField(none, file.where()));
}

/// Collects ids and hands them on some at a time.
class IdBuffer {
 public:
  explicit IdBuffer(const Tokenizer::IdSink& sink) : sink_(sink) {}

  std::vector<int64_t>& ids() { return ids_; }
  void flush(size_t at_least) {
    if (ids_.size() >= at_least) {
      sink_(ids_);
      ids_.clear();
    }
  }

 private:
  const Tokenizer::IdSink& sink_;
  std::vector<int64_t> ids_;
};

}  // namespace

HfPipeline::HfPipeline(const Json& json, const std::string& source)
    : model_(JsonField(checked(json, source), source + ":").at("model")),
      normalizer_(part_of<Normalizer>(JsonField(json, source + ":"), "normalizer")),
      pre_tokenizer_(part_of<PreTokenizer>(JsonField(json, source + ":"), "pre_tokenizer")),
      added_tokens_(list_of_added_tokens(JsonField(json, source + ":")), model_, normalizer_),
      decoder_(part_of<TokenDecoder>(JsonField(json, source + ":"), "decoder")) {}

void HfPipeline::encode_to(std::string_view text, const Tokenizer::IdSink& sink) const {
  constexpr size_t kIdsAtOnce = 4096;
  std::string repaired;
  if (find_invalid_utf8(text) != text.size()) {
    repaired = replace_invalid_utf8(std::string(text));
    text = repaired;
  }
  IdBuffer buffer(sink);
  BytePairEncoder encoder(model_);
  const auto on_token = [&](int32_t id) { buffer.ids().push_back(id); };
  const auto on_piece = [&](std::string_view piece, bool) {
    encoder.append_ids(piece, buffer.ids());
    buffer.flush(kIdsAtOnce);
  };
  const auto on_raw_text = [&](std::string_view part, bool first) {
    const std::string normalized = normalizer_(std::string(part));
    const auto on_text = [&](std::string_view piece, bool piece_first) {
      pre_tokenizer_(piece, first && piece_first, on_piece);
    };
    added_tokens_.in_normalized_text().split(normalized, on_text, on_token);
  };
  added_tokens_.in_raw_text().split(text, on_raw_text, on_token);
  buffer.flush(1);
}

std::string HfPipeline::decode(std::span<const int64_t> ids, int64_t eos) const {
  std::vector<std::string> tokens;
  for (const int64_t id : ids) {
    const AddedToken* added = added_tokens_.find(id);
    const std::string* token = added != nullptr ? &added->spelling : model_.token_of(id);
    if (token != nullptr && id != eos && (added == nullptr || !added->special)) {
      tokens.push_back(*token);
    }
  }
  return decoder_(std::move(tokens));
}

int64_t HfPipeline::vocab_size() const {
  return std::max(model_.max_id(), added_tokens_.max_id()) + 1;
}

int64_t HfPipeline::id_of(std::string_view token) const {
  const auto& all = added_tokens_.all();
  const auto found = std::find_if(
      all.begin(), all.end(), [&](const AddedToken& added) { return added.content == token; });
  return found != all.end() ? found->id : model_.id_of(token);
}

const std::string* HfPipeline::token_of(int64_t id) const {
  const AddedToken* added = added_tokens_.find(id);
  return added != nullptr ? &added->content : model_.token_of(id);
}

}  // namespace enodia
