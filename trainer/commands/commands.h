#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/watch/watchdog.h"
#include "models/model_parts.h"
#include "parallel/placement/policy.h"
#include "trainer/run/run_directory.h"
#include "trainer/run/run_log.h"
#include "trainer/run/stop_signal.h"

/// The subcommands of `enodia`. Those that take a communicator are collective over it; the others
/// are local. Those that take parts compute with them. Each throws an Error; results go to stdout,
/// on rank 0.
namespace enodia {

struct TrainArguments {
  std::string config;                  ///< path of a YAML file
  std::vector<std::string> overrides;  ///< "optim.lr=1e-3"
  std::string drill;                   ///< KIND:RANK:STEP, see trainer/run/drill.h; empty = none
  ShowSteps show = ShowSteps::kLines;
  RunStart start = RunStart::kResume;
};
/// Throws SharedError with exit code 5 when `stop` asked for it and the run was saved.
void train(Communicator& world,
           Watchdog& watchdog,
           const TrainArguments& arguments,
           const StopSignal& stop,
           const ModelParts& parts);

/// Prints the configuration that train() would use, as YAML with sources and meanings, and touches
/// nothing. `world_size` 0 = not known, then rules on ranks are left out.
void print_config(const TrainArguments& arguments, int world_size, const PartNames& parts);

struct HelpArguments {
  std::string topic;  ///< a key or a section; empty = all
  bool json = false;
  bool markdown = false;  ///< the page docs/configuration.md
};
void help(const HelpArguments& arguments, const PartNames& parts);

struct EvalArguments {
  std::string model;
  std::string data;             ///< PREFIX of a prepared data set
  std::string ngrams;           ///< PREFIX to count unigrams and bigrams on; empty = no baselines
  int64_t sequence_length = 0;  ///< tokens in a window; 0 = StoredModel::context_length
  bool json = false;
  bool terminal = false;  ///< show how far it is
};
void evaluate(Communicator& world,
              Watchdog& watchdog,
              const EvalArguments& arguments,
              const ModelParts& parts);

struct GenerateArguments {
  std::string model;
  std::string prompt;
  int64_t max_tokens = 100;
  double temperature = 0.8;  ///< 0 = always the likeliest token
  int64_t top_k = 0;         ///< sample among the k likeliest; 0 = all
  int64_t seed = 1;
  bool json = false;
};
void generate(Communicator& world,
              Watchdog& watchdog,
              const GenerateArguments& arguments,
              const ModelParts& parts);

struct LogitsArguments {
  std::string model;
  std::string ids;     ///< file of token ids, see parse_token_lists
  std::string output;  ///< safetensors file, replaced when it is there
  bool json = false;
};
/// Writes the tensor `logits` [B, S, V], float32 (float64 of a float64 model), of B sequences.
void logits(Communicator& world,
            Watchdog& watchdog,
            const LogitsArguments& arguments,
            const ModelParts& parts);

struct SimulateArguments {
  std::string config;                  ///< of forecast(): a YAML file; empty = replay only
  std::vector<std::string> overrides;  ///< of forecast(): "optim.lr=1e-3"
  std::string cluster;                 ///< of forecast(): a cluster file
  std::string trace;                   ///< safetensors file, see RoutingTrace; empty = of preset
  std::string preset;                  ///< a name of trace_presets()
  std::string write_trace;             ///< safetensors file for what is replayed; empty = none
  std::string policy = "all";          ///< a name of replay_policies(), or all
  int64_t nodes = 0;                   ///< times ranks_per_node = ranks of the trace; 0 = not given
  int64_t ranks_per_node = 0;
  int64_t slots = 2;       ///< extra slots of a rank
  std::string emit_plans;  ///< file for the plans, a JSON object a line; empty = none
  bool json = false;
};
/// Replays recorded or made-up routing under placement policies and prints what their plans come
/// to.
void simulate(const SimulateArguments& arguments);

/// Prints what a step of a configuration would take on a cluster, in time and memory, under each
/// policy; with the trace's routing, or else with the skew of router.forced_skew.
void forecast(const SimulateArguments& arguments, const PartNames& parts);

/// Those of a name, or all. Throws ConfigError that lists them.
std::vector<const PolicyEntry*> find_policies(std::span<const PolicyEntry> policies,
                                              const std::string& wanted);

struct DoctorArguments {
  bool json = false;
  bool terminal = false;  ///< somebody watches: show how far the measurements are
};
/// SharedError with code 3 when training would fail or a link between nodes is bad.
void doctor(Communicator& world, const DoctorArguments& arguments);

struct PrepareArguments {
  std::vector<std::string> inputs;
  std::string output, tokenizer;
  int64_t vocab_size = 0;
  bool json = false;
};
void prepare(const PrepareArguments& arguments);

struct ImportArguments {
  std::string folder;  ///< of a Hugging Face model
  std::string output;  ///< folder for the checkpoint; must not exist or be empty
  bool json = false;
};
/// Writes a native checkpoint OUTPUT/step_0 of a Hugging Face folder; each rank holds its share of
/// the weights in memory.
void import_model(Communicator& world, Watchdog& watchdog, const ImportArguments& arguments);

struct ExportArguments {
  std::string model;
  std::string format = "hf";
  std::string family;             ///< empty = the first that expresses the model
  std::string dtype = "float32";  ///< of the weights in the files
  std::string output;             ///< folder; must not exist or be empty
  bool verify = false;            ///< compare the folder's logits with the model's
  bool json = false;
};
/// Writes a Hugging Face folder, which appears when it is whole (and verified).
void export_model(Communicator& world, Watchdog& watchdog, const ExportArguments& arguments);

struct InspectArguments {
  std::string model;
  bool json = false;
};
void inspect(const InspectArguments& arguments);

}  // namespace enodia
