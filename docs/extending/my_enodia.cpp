#include "trainer/program.h"

#include "my_parts.h"

int main(int argc, char** argv) {
  enodia::ModelParts parts;
  parts.attentions["sliding_window"] = make_sliding_window;
  parts.routers["cosine"] = make_cosine;
  parts.losses["label_smoothing"] = make_label_smoothing;
  parts.settings["window"] = {16, "tokens that a token attends to, itself included"};
  parts.settings["smoothing"] = {0.1, "probability that label smoothing spreads over all tokens"};
  return enodia::run_program(argc, argv, parts);
}
