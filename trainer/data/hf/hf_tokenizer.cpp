#include "trainer/data/hf/hf_tokenizer.h"

#include "common/check.h"
#include "common/error.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/wording.h"
#include "trainer/data/hf/end_token.h"
#include "trainer/data/hf/hf_pipeline.h"
#include "trainer/data/hf/tokenizer_bundle.h"

namespace enodia {
namespace {

/// A pipeline and the bundle that it came from.
class HfTokenizer : public Tokenizer {
 public:
  HfTokenizer(std::unique_ptr<const HfPipeline> pipeline,
              const TokenizerBundle& bundle,
              std::string blob,
              const std::string& source)
      : pipeline_(std::move(pipeline)),
        eos_id_(pipeline_->id_of(bundle.eos_token)),
        blob_(std::move(blob)) {
    if (eos_id_ < 0) {
      throw FileError(source + ": the eos_token " + quote(bundle.eos_token) +
                      " is no token of the tokenizer");
    }
    const std::string what = bundle.eos_token + '\0' + bundle.tokenizer_json();
    hash_ = hash_of(what.data(), what.size());
  }

  void encode_to(std::string_view text, const IdSink& sink) const override {
    pipeline_->encode_to(text, sink);
  }
  std::string decode(std::span<const int64_t> ids) const override {
    for (const int64_t id : ids) {
      ENODIA_CHECK(id >= 0 && id < vocab_size(), "id ", id, " of a vocabulary of ", vocab_size());
    }
    return pipeline_->decode(ids, eos_id_);
  }
  int64_t vocab_size() const override { return pipeline_->vocab_size(); }
  int64_t eos_id() const override { return eos_id_; }
  std::string_view name() const override { return "huggingface"; }
  const std::string& blob() const override { return blob_; }
  /// Of tokenizer.json and EOS: another chat template beside it changes no id.
  std::string hash() const override { return hash_; }

 private:
  std::unique_ptr<const HfPipeline> pipeline_;
  int64_t eos_id_;
  std::string blob_;
  std::string hash_;
};

}  // namespace

std::unique_ptr<Tokenizer> load_hf_tokenizer(const std::filesystem::path& tokenizer_json) {
  constexpr int64_t kMaxBytes = int64_t{256} << 20;
  const std::string source = tokenizer_json.string();
  TokenizerBundle bundle;
  bundle.files.push_back({"tokenizer.json", read_file(tokenizer_json, kMaxBytes)});
  auto pipeline = std::make_unique<HfPipeline>(parse_json(bundle.tokenizer_json(), source), source);
  bundle.eos_token = find_end_token(*pipeline, tokenizer_json);
  for (TokenizerFile& companion : read_companions(tokenizer_json.parent_path())) {
    bundle.files.push_back(std::move(companion));
  }
  return std::make_unique<HfTokenizer>(std::move(pipeline), bundle, write_bundle(bundle), source);
}

bool is_hf_blob(std::string_view blob) {
  return is_bundle(blob);
}

std::unique_ptr<Tokenizer> hf_tokenizer_from_blob(std::string blob, const std::string& source) {
  const TokenizerBundle bundle = read_bundle(blob, source);
  auto pipeline = std::make_unique<HfPipeline>(
      parse_json(bundle.tokenizer_json(), source + ", tokenizer.json"), source);
  return std::make_unique<HfTokenizer>(std::move(pipeline), bundle, std::move(blob), source);
}

}  // namespace enodia
