// What our tokenizers make of texts, for the comparison with other implementations.
//   tokenizer_driver NAME_OR_PATH        each line of stdin is a JSON string; each line of stdout
//                                        {"ids": [...], "text": the ids decoded}
//   tokenizer_driver NAME_OR_PATH DIR    writes the tokenizer's Hugging Face files into DIR
#include <cstdio>
#include <iostream>
#include <string>

#include "common/error.h"
#include "common/file.h"
#include "common/json.h"
#include "trainer/data/tokenizer.h"
#include "trainer/data/tokenizer_export.h"

namespace enodia {
namespace {

void answer(const Tokenizer& tokenizer) {
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto ids = tokenizer.encode(parse_json(line, "stdin").get<std::string>());
    std::puts(Json{{"ids", ids}, {"text", tokenizer.decode(ids)}}.dump().c_str());
  }
}

void write_files(const Tokenizer& tokenizer, const std::filesystem::path& folder) {
  const TokenizerFiles exported = hugging_face_files(tokenizer, 512);
  for (const TokenizerFile& file : exported.files) {
    write_file_atomically(folder / file.name, file.content);
  }
  std::puts(exported.note.c_str());
}

}  // namespace
}  // namespace enodia

int main(int argc, char** argv) {
  try {
    const auto tokenizer = enodia::load_tokenizer(argc > 1 ? argv[1] : "byte");
    if (argc > 2) {
      enodia::write_files(*tokenizer, argv[2]);
    } else {
      enodia::answer(*tokenizer);
    }
    return 0;
  } catch (const enodia::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
