// What tests/transformers/hf_config_test.py needs of the product, to compare it with transformers:
// reads a config.json a line from stdin and answers each with a line: the config.json that we
// write for the same model, or the sentence that refuses it as a text.
#include <cstdio>
#include <iostream>
#include <string>

#include "checkpoint/hf/hf_config.h"
#include "common/error.h"

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    enodia::Json answer;
    try {
      const enodia::Json json = enodia::parse_json(line, "stdin");
      answer = enodia::write_hf_config(enodia::read_hf_config(json, "config.json"));
    } catch (const enodia::FileError& error) {
      answer = error.what();
    }
    std::puts(answer.dump().c_str());
  }
}
