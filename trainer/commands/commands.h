#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "trainer/run/run_directory.h"
#include "trainer/run/run_log.h"

/// The subcommands of `enodia`. Those that take a communicator are collective over it; the others
/// are local. Each throws an Error; results go to stdout, on rank 0.
namespace enodia {

struct TrainArguments {
  std::string config;                  ///< path of a YAML file
  std::vector<std::string> overrides;  ///< "optim.lr=1e-3"
  ShowSteps show = ShowSteps::kLines;
  RunStart start = RunStart::kResume;
};
void train(Communicator& world, const TrainArguments& arguments);

/// Prints the configuration that train() would use, as YAML with sources and meanings, and touches
/// nothing. `world_size` 0 = not known, then rules on ranks are left out.
void print_config(const TrainArguments& arguments, int world_size);

struct HelpArguments {
  std::string topic;  ///< a key or a section; empty = all
  bool json = false;
  bool markdown = false;  ///< the page docs/configuration.md
};
void help(const HelpArguments& arguments);

struct EvalArguments {
  std::string model;
  std::string data;    ///< PREFIX of a prepared data set
  std::string ngrams;  ///< PREFIX to count unigrams and bigrams on; empty = no baselines
  bool json = false;
};
void evaluate(Communicator& world, const EvalArguments& arguments);

struct GenerateArguments {
  std::string model;
  std::string prompt;
  int64_t max_tokens = 100;
  double temperature = 0.8;  ///< 0 = always the likeliest token
  int64_t top_k = 0;         ///< sample among the k likeliest; 0 = all
  int64_t seed = 1;
  bool json = false;
};
void generate(Communicator& world, const GenerateArguments& arguments);

struct PrepareArguments {
  std::vector<std::string> inputs;
  std::string output, tokenizer;
  int64_t vocab_size = 0;
  bool json = false;
};
void prepare(const PrepareArguments& arguments);

struct InspectArguments {
  std::string model;
  bool json = false;
};
void inspect(const InspectArguments& arguments);

}  // namespace enodia
