#include <array>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/error.h"
#include "common/file.h"
#include "common/json.h"
#include "tests/trainer/data_fixtures.h"
#include "trainer/data/prepare.h"
#include "trainer/data/tokenizer.h"
#include "trainer/data/tokenizer_export.h"

namespace enodia {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace fs = std::filesystem;

Json added_token(int64_t id, const std::string& content, bool special) {
  return {{"id", id}, {"content", content}, {"special", special}, {"normalized", false}};
}

/// Letters a to d, some of their pairs, a space, bytes of what is unknown, and two added tokens.
/// The ids 9 and 300 to 399 are holes.
Json small_tokenizer() {
  Json vocabulary{{"a", 0},
                  {"b", 1},
                  {"c", 2},
                  {"d", 3},
                  {"bc", 4},
                  {"ab", 5},
                  {"aa", 6},
                  {"abc", 7},
                  {" ", 8}};
  for (int byte = 0; byte < 256; ++byte) {
    std::array<char, 8> name{};
    std::snprintf(name.data(), name.size(), "<0x%02X>", byte);
    vocabulary[name.data()] = 10 + byte;
  }
  return {{"version", "1.0"},
          {"added_tokens", {added_token(400, "</s>", true), added_token(401, "<think>", false)}},
          {"normalizer", nullptr},
          {"pre_tokenizer", nullptr},
          {"post_processor", {{"type", "TemplateProcessing"}}},
          {"decoder",
           {{"type", "Sequence"}, {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}}},
          {"model",
           {{"type", "BPE"},
            {"byte_fallback", true},
            {"vocab", vocabulary},
            {"merges", {"b c", {"a", "b"}, {"a", "a"}, "a bc"}}}}};
}

/// A Hugging Face folder of some files.
class Folder : public TemporaryFolder {
 public:
  explicit Folder(const Json& tokenizer = small_tokenizer()) {
    write("tokenizer.json", tokenizer.dump());
  }
  std::string path() const { return fs::path(file("x")).parent_path().string(); }
  std::unique_ptr<Tokenizer> load() const { return load_tokenizer(path()); }
};

std::string refusal(const Folder& folder) {
  try {
    folder.load();
    return "nothing was refused";
  } catch (const FileError& error) {
    return error.what();
  }
}

std::string refusal(const Json& tokenizer) {
  return refusal(Folder(tokenizer));
}

TEST(HfTokenizer, MergesByRankAndFromTheLeft) {
  const auto tokenizer = Folder().load();
  EXPECT_THAT(tokenizer->encode("abc"), ElementsAre(7));  // b c first, then a bc
  EXPECT_THAT(tokenizer->encode("abd"), ElementsAre(5, 3));
  EXPECT_THAT(tokenizer->encode("aaaaa"), ElementsAre(6, 6, 0));
  EXPECT_THAT(tokenizer->encode(""), IsEmpty());
  EXPECT_EQ(tokenizer->name(), "huggingface");
}

TEST(HfTokenizer, SpellsUnknownCharactersInBytes) {
  const auto tokenizer = Folder().load();
  EXPECT_THAT(tokenizer->encode("a\xC3\xA9"), ElementsAre(0, 10 + 0xC3, 10 + 0xA9));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("abc \xF0\x9F\x98\x80")), "abc \xF0\x9F\x98\x80");
}

TEST(HfTokenizer, ReadsBrokenUtf8AsReplacementCharacters) {
  const auto tokenizer = Folder().load();
  EXPECT_EQ(tokenizer->encode("a\xFF\xE2\x82z"), tokenizer->encode("a\xEF\xBF\xBD\xEF\xBF\xBDz"));
}

TEST(HfTokenizer, FindsAddedTokensFirst) {
  Json json = small_tokenizer();
  json["added_tokens"][1]["lstrip"] = true;
  json["added_tokens"].push_back(added_token(402, "<think>>", false));
  json["added_tokens"].push_back(added_token(403, "cab", false));
  json["added_tokens"][3]["single_word"] = true;
  const auto tokenizer = Folder(json).load();
  EXPECT_THAT(tokenizer->encode("a</s>b  <think>a"), ElementsAre(0, 400, 1, 401, 0));
  EXPECT_THAT(tokenizer->encode("<think>>"), ElementsAre(402));
  EXPECT_THAT(tokenizer->encode("cab cabd"), ElementsAre(403, 8, 2, 5, 3));
}

TEST(HfTokenizer, DecodesNoSpecialTokensAndNoHoles) {
  const auto tokenizer = Folder().load();
  EXPECT_EQ(tokenizer->vocab_size(), 402);
  EXPECT_EQ(tokenizer->decode(std::array<int64_t, 6>{7, 400, 9, 350, 401, 0}), "abc<think>a");
  EXPECT_THROW(tokenizer->decode(std::array<int64_t, 1>{402}), UsageError);
  EXPECT_THROW(tokenizer->decode(std::array<int64_t, 1>{-1}), UsageError);
}

TEST(HfTokenizer, HandsOverALongTextInParts) {
  Json json = small_tokenizer();
  json["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  std::string text;
  for (int i = 0; i < 20000; ++i) {
    text += "abcd ";
  }
  int parts = 0;
  size_t ids = 0;
  Folder(json).load()->encode_to(text, [&](std::span<const int64_t> part) {
    ++parts;
    ids += part.size();
  });
  EXPECT_GE(parts, 4);
  EXPECT_EQ(ids, 40000U);
}

TEST(HfTokenizer, MergesAMillionCharactersInOnePiece) {
  std::string text;
  for (int i = 0; i < 250000; ++i) {
    text += "abcd";
  }
  EXPECT_EQ(Folder().load()->encode(text).size(), 500000U);
}

TEST(HfTokenizer, LearnsFromTheFolderWhichTokenEndsAText) {
  Json json = small_tokenizer();
  json["added_tokens"].push_back(added_token(404, "<eos>", false));
  Folder folder(json);
  EXPECT_EQ(folder.load()->eos_id(), 400);  // the one special token with a usual name
  folder.write("generation_config.json", R"({"eos_token_id": [401, 0]})");
  EXPECT_EQ(folder.load()->eos_id(), 401);
  folder.write("config.json", R"({"eos_token_id": 7})");
  EXPECT_EQ(folder.load()->eos_id(), 7);
  folder.write("tokenizer_config.json", R"({"eos_token": {"content": "<eos>"}})");
  EXPECT_EQ(folder.load()->eos_id(), 404);
  folder.write("tokenizer_config.json", R"({"eos_token": "d"})");
  EXPECT_EQ(folder.load()->eos_id(), 3);
  folder.write("tokenizer_config.json", R"({"eos_token": null})");
  EXPECT_EQ(folder.load()->eos_id(), 7);
}

TEST(HfTokenizer, RefusesToGuessTheEndOfAText) {
  Json json = small_tokenizer();
  json["added_tokens"].push_back(added_token(404, "<|im_end|>", true));
  EXPECT_THAT(refusal(json), HasSubstr("</s> or <|im_end|>?"));
  json["added_tokens"] = Json::array();
  EXPECT_THAT(refusal(json), HasSubstr("does not tell which token ends a text"));
  Folder folder;
  folder.write("config.json", R"({"eos_token_id": 350})");
  EXPECT_THAT(refusal(folder), HasSubstr("config.json: eos_token_id 350 is the id of no token"));
  folder.write("tokenizer_config.json", R"({"eos_token": "<nothing>"})");
  EXPECT_THAT(refusal(folder),
              HasSubstr("tokenizer_config.json: eos_token '<nothing>' is no token"));
  folder.write("tokenizer_config.json", R"({"eos_token": 7})");
  EXPECT_THAT(refusal(folder), HasSubstr("tokenizer_config.json: eos_token must be a text"));
}

TEST(HfTokenizer, IsCarriedWholeByItsBlob) {
  Folder folder;
  folder.write("chat_template.jinja", "{{ \"\xE2\x82\xAC\" }}\r\n");
  folder.write("notes.txt", "not the tokenizer's");
  const auto loaded = folder.load();
  const auto again = tokenizer_from_blob(loaded->blob(), "step_1/tokenizer.model");
  EXPECT_EQ(again->hash(), loaded->hash());
  EXPECT_EQ(again->eos_id(), loaded->eos_id());
  EXPECT_EQ(again->encode("abcd </s>"), loaded->encode("abcd </s>"));
  EXPECT_EQ(load_tokenizer(folder.write("bundle", loaded->blob()))->blob(), loaded->blob());

  const TokenizerFiles exported = hugging_face_files(*again, 64);
  EXPECT_EQ(exported.note, "");
  ASSERT_EQ(exported.files.size(), 2U);
  for (const TokenizerFile& file : exported.files) {
    EXPECT_EQ(file.content, read_file(folder.file(file.name))) << file.name;
  }
}

TEST(HfTokenizer, HasAHashOfWhatDecidesOverIdsAndText) {
  Folder folder;
  const std::string hash = folder.load()->hash();
  folder.write("chat_template.jinja", "another one");
  EXPECT_EQ(folder.load()->hash(), hash);
  folder.write("config.json", R"({"eos_token_id": 7})");
  EXPECT_NE(folder.load()->hash(), hash);
  Json json = small_tokenizer();
  json["normalizer"] = {{"type", "NFC"}};
  EXPECT_NE(Folder(json).load()->hash(), hash);
}

TEST(HfTokenizer, IsFoundInFolders) {
  const TemporaryFolder empty;
  const fs::path folder = fs::path(empty.file("x")).parent_path();
  EXPECT_EQ(find_folder_tokenizer(folder), nullptr);
  EXPECT_THROW(load_tokenizer(folder.string()), FileError);
  EXPECT_NE(find_folder_tokenizer(Folder().path()), nullptr);
}

TEST(HfTokenizer, StandsBesideTheDataThatItMade) {
  const Folder folder;
  const TemporaryFolder output;
  const fs::path data = fs::path(output.file("data"));
  const PrepareOptions options{.inputs = {output.write("text.txt", "abcd ab")},
                               .output = (data / "mine").string(),
                               .tokenizer = folder.path()};
  EXPECT_EQ(prepare_dataset(options).tokenizer, (data / "mine.model").string());
  fs::rename(data, output.file("moved"));
  const PreparedData moved = open_prepared(output.file("moved/mine"));
  ASSERT_NE(moved.tokenizer, nullptr);
  EXPECT_EQ(moved.tokenizer->blob(), folder.load()->blob());
  EXPECT_EQ(moved.dataset.num_tokens(), 5);

  // A file that holds the whole tokenizer is used where it is.
  PrepareOptions second = options;
  second.tokenizer = output.file("moved/mine.model");
  second.output = output.file("moved/second");
  EXPECT_EQ(prepare_dataset(second).tokenizer, second.tokenizer);
  EXPECT_FALSE(fs::exists(output.file("moved/second.model")));
}

/// A tokenizer with one member changed, and what the refusal must name.
struct Fault {
  std::string pointer;
  Json value;
  std::string sentence;
};

TEST(HfTokenizer, RefusesWhatItDoesNotKnowByName) {
  const std::vector<Fault> faults{
      {"/model/type", "WordPiece", "model.type 'WordPiece' is a model that Enodia does not know"},
      {"/model/dropout", 0.1, "model.dropout must be null"},
      {"/model/continuing_subword_prefix", "##", "continuing_subword_prefix '##' must be empty"},
      {"/model/end_of_word_suffix", "</w>", "end_of_word_suffix '</w>' must be empty"},
      {"/model/vocab", 7, "model.vocab must be an object"},
      {"/model/vocab", Json::object(), "model.vocab must be an object"},
      {"/model/vocab/a", -1, "'a' has the id '-1', which must lie from 0 to 16777215"},
      {"/model/vocab/a", 1000000000000000000, "'a' has the id '1000000000000000000'"},
      {"/model/vocab/a", "0", "'a' has the id"},
      {"/model/vocab/a", 1, "gives the id 1 to both 'a' and 'b'"},
      {"/model/merges", "ab", "model.merges must be an array"},
      {"/model/merges/0", "bc", "model.merges[0] must be two tokens"},
      {"/model/merges/0", "b c d", "model.merges[0] must be two tokens"},
      {"/model/merges/1", {"a", "b", "c"}, "model.merges[1] must be two tokens"},
      {"/model/merges/1", {"a", 7}, "model.merges[1][1] must be a text"},
      {"/model/merges/1", {"a", "zz"}, "model.merges[1] needs the token 'zz'"},
      {"/model/merges/1", {"d", "d"}, "model.merges[1] needs the token 'dd'"},
      {"/model/byte_fallback", "yes", "model.byte_fallback must be true or false"},
      {"/model", nullptr, "model must be an object"},
      {"/version", "9.0", "version is '9.0', but only version 1.0 is known"},
      {"/frob", 1, "has the key 'frob', which is not known"},
      {"/truncation", 3, "truncation must be an object or null"},
      {"/padding", "left", "padding must be an object or null"},
      {"/post_processor", 3, "post_processor must be an object or null"},
      {"/post_processor", Json::object(), "post_processor has no 'type'"},
      {"/added_tokens/0/strip", true, "added_tokens[0] has the key 'strip', which is not known"},
      {"/added_tokens/0", 3, "added_tokens[0] must be an object"},
      {"/added_tokens/0/content", "", "added_tokens[0].content must not be empty"},
      {"/added_tokens", 3, "added_tokens must be an array"},
      {"/added_tokens/0/id", 1000000000000000000, "added_tokens[0].id"},
      {"/added_tokens/0/id", -3, "added_tokens[0].id must be an integer"},
      {"/added_tokens/0/id", 3, "'</s>' has the id 3, the vocabulary says otherwise"},
      {"/added_tokens/0/content", "a", "'a' has the id 400, the vocabulary says otherwise"},
      {"/added_tokens/0/id", 401, "or its id 401 occurs twice"},
      {"/added_tokens/0/content", std::string(2000, 'x'), "content must have at most 1024 bytes"},
      {"/normalizer", {{"type", "Nmt"}}, "normalizer.type 'Nmt' is a normalizer that Enodia"},
      {"/normalizer", {{"type", "Prepend"}}, "normalizer has no 'prepend'"},
      {"/pre_tokenizer", {{"type", "BertPreTokenizer"}}, "'BertPreTokenizer' is a pre-tokenizer"},
      {"/pre_tokenizer",
       {{"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}},
       "pre_tokenizer.pattern.Regex '(a' is no valid regular expression"},
      {"/pre_tokenizer",
       {{"type", "Split"}, {"pattern", {{"Regex", std::string(70000, 'a')}}}, {"behavior", ""}},
       "more than 65536 bytes"},
      {"/pre_tokenizer",
       {{"type", "Split"}, {"pattern", {{"String", ""}}}, {"behavior", "Isolated"}},
       "pattern.String must not be empty"},
      {"/pre_tokenizer",
       {{"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "Sideways"}},
       "pre_tokenizer.behavior 'Sideways' must be Isolated"},
      {"/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "xy"}}, "must be one character"},
      {"/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {7}}}, "must be an object"},
      {"/decoder", {{"type", "WordPiece"}}, "decoder.type 'WordPiece' is a decoder that Enodia"},
      {"/decoder", "ByteLevel", "decoder must be an object"}};
  for (const Fault& fault : faults) {
    Json json = small_tokenizer();
    json[Json::json_pointer(fault.pointer)] = fault.value;
    const std::string sentence = refusal(json);
    EXPECT_THAT(sentence, HasSubstr(fault.sentence)) << fault.pointer;
    EXPECT_THAT(sentence, HasSubstr("tokenizer.json")) << fault.pointer;
  }
}

TEST(HfTokenizer, NeedsItsUnknownTokenOnlyForUnknownCharacters) {
  Json json = small_tokenizer();
  json["model"]["byte_fallback"] = false;
  json["model"]["unk_token"] = "<none>";
  const auto tokenizer = Folder(json).load();
  EXPECT_THAT(tokenizer->encode("ab"), ElementsAre(5));
  EXPECT_THROW(tokenizer->encode("abz"), FileError);
}

TEST(HfTokenizer, EndsExpressionsThatBacktrackWithoutEnd) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"(?=(x+x+)+y)x", std::string(60, 'x')}, {"(?=\\s+\\d)\\s", std::string(300000, ' ')}};
  for (const auto& [expression, text] : cases) {
    Json json = small_tokenizer();
    json["pre_tokenizer"] = {
        {"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}};
    const auto tokenizer = Folder(json).load();
    EXPECT_THROW(tokenizer->encode(text), FileError) << expression;
    EXPECT_THAT(tokenizer->encode("ab"), ElementsAre(5));
  }
}

Json replacement(const std::string& what, const std::string& with) {
  return {{"type", "Replace"}, {"pattern", {{"String", what}}}, {"content", with}};
}

std::string encoding_error(const Json& json, const std::string& text) {
  try {
    Folder(json).load()->encode(text);
    return "nothing was refused";
  } catch (const FileError& error) {
    return error.what();
  }
}

TEST(HfTokenizer, EndsTextsThatGrowWithoutEnd) {
  Json explosion = small_tokenizer();
  explosion["normalizer"] = {{"type", "Sequence"},
                             {"normalizers", Json(12, replacement("a", std::string(1000, 'a')))}};
  EXPECT_THAT(encoding_error(explosion, "a"),
              HasSubstr("tokenizer.json: normalizer makes at least 1000000 bytes of a text of 1, "
                        "more than 32 times as many and 4096; use another tokenizer"));
  Json prefixes = small_tokenizer();
  prefixes["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers", Json(6, {{"type", "Prepend"}, {"prepend", std::string(1000, 'a')}})}};
  EXPECT_THAT(encoding_error(prefixes, "a"), HasSubstr("normalizer makes at least 5001 bytes"));
  Json bytes = small_tokenizer();  // each step spells a byte that is no ASCII as two such bytes
  bytes["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       Json(40, {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}})}};
  EXPECT_THAT(encoding_error(bytes, "\xC3\xA9"), HasSubstr("pre_tokenizer makes at least"));
  Json growing_back = small_tokenizer();
  growing_back["decoder"] = {{"type", "Sequence"},
                             {"decoders", Json(12, replacement("a", std::string(1000, 'a')))}};
  const auto tokenizer = Folder(growing_back).load();
  EXPECT_EQ(tokenizer->decode(std::array<int64_t, 2>{1, 2}), "bc");
  EXPECT_THROW(tokenizer->decode(std::array<int64_t, 2>{0, 0}), FileError);
}

TEST(HfTokenizer, LetsTextsGrowWithinReason) {
  Json json = small_tokenizer();
  json["normalizer"] = {{"type", "Sequence"},
                        {"normalizers",
                         {replacement("a", std::string(32, 'b')),
                          {{"type", "Prepend"}, {"prepend", std::string(4096, 'c')}}}}};
  EXPECT_EQ(Folder(json).load()->encode(std::string(1000, 'a')).size(), 4096U + 32000U);
}

TEST(HfTokenizer, JudgesWhatIsCalledJsonAsJson) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "is not valid JSON: it is empty"},
      {" \n", "is not valid JSON: it is empty"},
      {"null", "must be an object"},
      {"7", "must be an object"},
      {"[[[[", "is not valid JSON: parse error at line 1, column 5"},
      {"\x7F\x45LF\x02", "is not valid JSON"},
      {std::string("\0\n\x0E", 3), "byte 0 is zero"}};
  for (const auto& [content, complaint] : cases) {
    const Folder folder;
    folder.write("tokenizer.json", content);
    EXPECT_THAT(refusal(folder), HasSubstr("tokenizer.json")) << content;
    EXPECT_THAT(refusal(folder), HasSubstr(complaint)) << content;
  }
}

TEST(HfTokenizer, RefusesEveryTruncation) {
  const std::string text = small_tokenizer().dump();
  const Folder folder;
  const std::string bundle = folder.load()->blob();
  for (size_t length = 0; length < text.size(); length += 97) {
    folder.write("tokenizer.json", text.substr(0, length));
    EXPECT_THROW(folder.load(), FileError) << length;
  }
  for (size_t length = 0; length < bundle.size(); length += 97) {
    EXPECT_THROW(tokenizer_from_blob(bundle.substr(0, length), "x"), FileError) << length;
  }
}

TEST(HfTokenizer, RefusesBundlesThatWouldWriteElsewhere) {
  const Json bundle{{"format", "enodia-hf-tokenizer"},
                    {"eos_token", "</s>"},
                    {"files", {{"tokenizer.json", small_tokenizer().dump()}, {"../x", ""}}}};
  EXPECT_THROW(tokenizer_from_blob(bundle.dump(), "x"), FileError);
}

TEST(HfTokenizer, RefusesOrReadsAnyDamage) {
  Json json = small_tokenizer();
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFKC"}}}}};
  json["pre_tokenizer"] = {{"type", "Split"},
                           {"pattern", {{"Regex", "\\p{L}+|[^\\s]|\\s+(?!\\S)"}}},
                           {"behavior", "MergedWithNext"}};
  const std::string text = json.dump();
  std::mt19937 random(7);
  const std::string bytes = "\"{}[]:,-0123456789eE.\\u tfn(*+?";
  int read = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = text;
    for (int change = 0; change < 1 + i % 3; ++change) {
      damaged[random() % damaged.size()] = bytes[random() % bytes.size()];
    }
    try {
      const Json bundle{{"format", "enodia-hf-tokenizer"},
                        {"eos_token", "</s>"},
                        {"files", {{"tokenizer.json", damaged}}}};
      const auto tokenizer = tokenizer_from_blob(bundle.dump(), "damaged");
      tokenizer->decode(tokenizer->encode("abcd \xC3\xA9 </s><think>12 "));
      ++read;
    } catch (const FileError&) {
    }
  }
  EXPECT_GT(read, 0);
  EXPECT_LT(read, 3000);
}

TEST(TokenizerExport, WritesBytesAndSentencePieceSoThatOursReadsTheSame) {
  const TemporaryFolder folder;
  std::string prose;
  for (int i = 0; i < 3000; ++i) {
    prose += i % 7 == 0   ? "evenings  and\n"
             : i % 5 == 0 ? "even mornings "
                          : "or gardens, \xE2\x82\xAC ";
  }
  const std::array files{fs::path(folder.write("prose.txt", prose))};
  folder.write("spm.model", train_sentencepiece(files, 300));
  for (const std::string& name : {std::string("byte"), folder.file("spm.model")}) {
    const auto tokenizer = load_tokenizer(name);
    const TokenizerFiles exported = hugging_face_files(*tokenizer, 64);
    const TemporaryFolder out;
    for (const TokenizerFile& file : exported.files) {
      out.write(file.name, file.content);
    }
    const auto again = load_tokenizer(out.file("tokenizer.json"));
    EXPECT_EQ(again->vocab_size(), tokenizer->vocab_size());
    EXPECT_EQ(again->eos_id(), tokenizer->eos_id());
    for (const std::string& text :
         {prose, std::string("\xE2\x96\x81 zebra\xF0\x9F\x98\x80   eeeee")}) {
      EXPECT_EQ(again->encode(text), tokenizer->encode(text)) << name;
      EXPECT_EQ(again->decode(again->encode(text)), text) << name;
    }
  }
}

}  // namespace
}  // namespace enodia
