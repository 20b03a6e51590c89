#include "trainer/data/tokenizer_export.h"

#include <utility>

#include "common/json.h"
#include "trainer/data/hf/byte_level.h"
#include "trainer/data/hf/tokenizer_bundle.h"
#include "trainer/data/sentencepiece_export.h"

namespace enodia {
namespace {

using SpecialTokens = std::vector<std::pair<std::string, std::string>>;  // "eos_token", "</s>"

TokenizerFile json_file(std::string name, const Json& json) {
  return {std::move(name), json.dump(2) + "\n"};
}

/// tokenizer_config.json and special_tokens_map.json. The class is the one that takes a
/// tokenizer.json as it is.
std::vector<TokenizerFile> configuration_files(const SpecialTokens& special, int64_t max_length) {
  Json config{{"tokenizer_class", "PreTrainedTokenizerFast"},
              {"clean_up_tokenization_spaces", false},
              {"model_max_length", max_length}};
  Json map = Json::object();
  for (const auto& [key, token] : special) {
    config[key] = token;
    map[key] = token;
  }
  return {json_file("tokenizer_config.json", config), json_file("special_tokens_map.json", map)};
}

std::vector<TokenizerFile> with_json(const Json& tokenizer_json,
                                     const SpecialTokens& special,
                                     int64_t max_length) {
  std::vector<TokenizerFile> files = configuration_files(special, max_length);
  files.insert(files.begin(), json_file("tokenizer.json", tokenizer_json));
  return files;
}

/// The 256 bytes as GPT-2 spells them, nothing merged.
TokenizerFiles byte_files(int64_t max_length) {
  const std::string end = "<|endoftext|>";
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[spell_bytes(std::string(1, static_cast<char>(byte)))] = byte;
  }
  const Json byte_level{{"type", "ByteLevel"},
                        {"add_prefix_space", false},
                        {"trim_offsets", false},
                        {"use_regex", false}};
  const Json json{{"version", "1.0"},
                  {"truncation", nullptr},
                  {"padding", nullptr},
                  {"added_tokens",
                   Json::array({Json{{"id", 256},
                                     {"content", end},
                                     {"single_word", false},
                                     {"lstrip", false},
                                     {"rstrip", false},
                                     {"normalized", false},
                                     {"special", true}}})},
                  {"normalizer", nullptr},
                  {"pre_tokenizer", byte_level},
                  {"post_processor", nullptr},
                  {"decoder", byte_level},
                  {"model",
                   {{"type", "BPE"},
                    {"dropout", nullptr},
                    {"unk_token", nullptr},
                    {"continuing_subword_prefix", nullptr},
                    {"end_of_word_suffix", nullptr},
                    {"fuse_unk", false},
                    {"byte_fallback", false},
                    {"ignore_merges", false},
                    {"vocab", vocabulary},
                    {"merges", Json::array()}}}};
  return {with_json(json, {{"eos_token", end}}, max_length), ""};
}

SpecialTokens special_pieces(const SentencePieceSpec& spec, int64_t eos_id) {
  SpecialTokens special{{"eos_token", spec.pieces.at(static_cast<size_t>(eos_id)).text}};
  for (const auto& piece : spec.pieces) {
    if (piece.type == SentencePieceSpec::kUnknown) {
      special.emplace_back("unk_token", piece.text);
    } else if (piece.type == SentencePieceSpec::kControl && piece.text == "<s>") {
      special.emplace_back("bos_token", piece.text);
    } else if (piece.type == SentencePieceSpec::kControl && piece.text == "<pad>") {
      special.emplace_back("pad_token", piece.text);
    }
  }
  return special;
}

TokenizerFiles sentencepiece_files(const Tokenizer& tokenizer, int64_t max_length) {
  const SentencePieceSpec spec = read_sentencepiece_spec(tokenizer.blob(), "the tokenizer");
  const SpecialTokens special = special_pieces(spec, tokenizer.eos_id());
  TokenizerFiles exported{{}, reason_against_json(spec)};
  exported.files = exported.note.empty()
                       ? with_json(sentencepiece_to_json(spec), special, max_length)
                       : configuration_files(special, max_length);
  exported.files.push_back({"tokenizer.model", tokenizer.blob()});
  return exported;
}

}  // namespace

TokenizerFiles hugging_face_files(const Tokenizer& tokenizer, int64_t max_length) {
  if (is_bundle(tokenizer.blob())) {
    return {read_bundle(tokenizer.blob(), "the tokenizer").files, ""};
  }
  return tokenizer.name() == "byte" ? byte_files(max_length)
                                    : sentencepiece_files(tokenizer, max_length);
}

}  // namespace enodia
