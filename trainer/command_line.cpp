#include "trainer/command_line.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string>
#include <vector>

#include "collectives/mpi/mpi_world.h"
#include "common/error.h"
#include "trainer/metrics/progress.h"

#include <CLI/CLI.hpp>

namespace enodia {
namespace {

/// Counts that CLI11 would describe with 300 digits.
CLI::Range count_from(double smallest) {
  return CLI::Range(smallest, 2147483647.0);
}

/// CLI11's own range lets "nan" pass.
std::string check_temperature(const std::string& text) {
  double value = -1.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool sound = error == std::errc() && end == text.data() + text.size();
  return sound && value >= 0.0 && value <= 100.0 ? ""
                                                 : "must be a number from 0 to 100, not " + text;
}

void add_train(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand(
      "train", "Train a model; resumes when the run directory holds a checkpoint");
  command->add_option("CONFIG", line.train.config, "YAML file")->required();
  command
      ->add_option(
          "--set", line.train.overrides, "Override a value, as optim.lr=1e-3; once for each")
      ->take_all()
      ->allow_extra_args(false);
  command->add_flag("--json", line.json_steps, "Print each step as a JSON object");
  command->add_option("--drill",
                      line.train.drill,
                      "KIND:RANK:STEP, a rehearsal of what happens when a rank fails: it stops "
                      "(stop), leaves out an operation (skip) or sleeps for ever (hang)");
  command->add_flag(
      "--fresh", line.fresh, "Start anew: in DIR-2, DIR-3 ... when the run directory holds a run");
  command->add_flag("--print-config",
                    line.print_config,
                    "Print every value with its source and meaning, and do not train");
  command->callback([&line] {
    line.train.start = line.fresh ? RunStart::kFresh : RunStart::kResume;
    if (line.print_config) {
      line.on_one = [&line] {
        const int ranks = launched_rank().world_size;
        print_config(line.train, ranks > 1 ? ranks : 0, line.parts.names());
      };
      return;
    }
    line.stop.emplace();
    line.on_ranks = [&line](Communicator& world, Watchdog& watchdog) {
      train(world, watchdog, line.train, *line.stop, line.parts);
    };
  });
}

constexpr const char* kModel = "Run directory, checkpoint or Hugging Face folder";

void add_eval(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("eval", "Held-out loss, perplexity and bits per byte");
  command->add_option("MODEL", line.eval.model, kModel)->required();
  command->add_option("--data", line.eval.data, "Prefix of a prepared data set")->required();
  command
      ->add_option("--sequence-length",
                   line.eval.sequence_length,
                   "Tokens in a window of text; by default as many as it was trained on, of a "
                   "Hugging Face folder as its max_position_embeddings, at most 2048")
      ->check(count_from(1));
  command->add_option("--ngrams",
                      line.eval.ngrams,
                      "Compare with unigram and bigram models counted on this data set");
  command->add_flag("--json", line.eval.json, "Print one JSON object");
  command->callback([&line] {
    line.on_ranks = [&line](Communicator& world, Watchdog& watchdog) {
      evaluate(world, watchdog, line.eval, line.parts);
    };
  });
}

void add_generate(CLI::App& app, CommandLine& line) {
  GenerateArguments& arguments = line.generate;
  CLI::App* command = app.add_subcommand("generate", "Continue a text");
  command->add_option("MODEL", arguments.model, kModel)->required();
  command->add_option("--prompt", arguments.prompt, "Text to continue")->required();
  command->add_option("--max-tokens", arguments.max_tokens, "Tokens to add at most")
      ->check(count_from(0))
      ->capture_default_str();
  command->add_option("--temperature", arguments.temperature, "0 takes the likeliest token")
      ->check(check_temperature)
      ->capture_default_str();
  command->add_option("--top-k", arguments.top_k, "Sample among the k likeliest; 0 = all")
      ->check(count_from(0))
      ->capture_default_str();
  command->add_option("--seed", arguments.seed, "Another seed, another text")
      ->check(count_from(0))
      ->capture_default_str();
  command->add_flag("--json", arguments.json, "Print one JSON object");
  command->callback([&line] {
    line.on_ranks = [&line](Communicator& world, Watchdog& watchdog) {
      generate(world, watchdog, line.generate, line.parts);
    };
  });
}

void add_logits(CLI::App& app, CommandLine& line) {
  LogitsArguments& arguments = line.logits;
  CLI::App* command =
      app.add_subcommand("logits", "Write the logits of token ids, to compare with other programs");
  command->add_option("MODEL", arguments.model, kModel)->required();
  command->add_option("--ids", arguments.ids, "File with a JSON list of token ids a line")
      ->required();
  command
      ->add_option(
          "--output", arguments.output, "Safetensors file for the tensor `logits` [B, S, V]")
      ->required();
  command->add_flag("--json", arguments.json, "Print one JSON object");
  command->callback([&line] {
    line.on_ranks = [&line](Communicator& world, Watchdog& watchdog) {
      logits(world, watchdog, line.logits, line.parts);
    };
  });
}

void add_prepare(CLI::App& app, CommandLine& line) {
  PrepareArguments& arguments = line.prepare;
  CLI::App* command = app.add_subcommand(
      "prepare", "Turn text into token files; trains a SentencePiece model when none is given");
  command->add_option("--input", arguments.inputs, "Text files, or .jsonl with a `text` a line")
      ->required();
  command->add_option("--output", arguments.output, "Prefix of the files to write")->required();
  command->add_option("--tokenizer",
                      arguments.tokenizer,
                      "A model or Hugging Face folder with its tokenizer, a tokenizer.json, a "
                      "SentencePiece model, or byte");
  command->add_option("--vocab-size", arguments.vocab_size, "Pieces of a newly trained tokenizer")
      ->check(count_from(1));
  command->add_flag("--json", arguments.json, "Print one JSON object");
  command->callback([&line] { line.on_one = [&line] { prepare(line.prepare); }; });
}

void add_import(CLI::App& app, CommandLine& line) {
  ImportArguments& arguments = line.import_model;
  CLI::App* command = app.add_subcommand(
      "import",
      "Turn a Hugging Face folder of one of seven families (docs/guide.md) into a checkpoint");
  command->add_option("HF_DIR", arguments.folder, "Folder with config.json and *.safetensors")
      ->required();
  command->add_option("--output", arguments.output, "New folder for the checkpoint")->required();
  command->add_flag("--json", arguments.json, "Print one JSON object");
  command->callback([&line] {
    line.on_ranks = [&line](Communicator& world, Watchdog& watchdog) {
      import_model(world, watchdog, line.import_model);
    };
  });
}

void add_export(CLI::App& app, CommandLine& line) {
  ExportArguments& arguments = line.export_model;
  CLI::App* command = app.add_subcommand(
      "export", "Write a model as a folder that transformers, vLLM and llama.cpp read");
  command->add_option("MODEL", arguments.model, kModel)->required();
  command->add_option("--format", arguments.format, "hf, a Hugging Face folder")
      ->capture_default_str();
  command->add_option("--output", arguments.output, "New folder")->required();
  command->add_option(
      "--family",
      arguments.family,
      "mixtral, qwen3_moe, qwen2_moe, olmoe, glm4_moe, deepseek_v2 or deepseek_v3; by "
      "default the first that expresses the model");
  command->add_option("--dtype", arguments.dtype, "Of the weights: float32 or bfloat16")
      ->capture_default_str();
  command->add_flag("--verify",
                    arguments.verify,
                    "Read the folder again; compare logits with those of the model in --dtype");
  command->add_flag("--json", arguments.json, "Print one JSON object");
  command->callback([&line] {
    line.on_ranks = [&line](Communicator& world, Watchdog& watchdog) {
      export_model(world, watchdog, line.export_model);
    };
  });
}

void add_inspect(CLI::App& app, CommandLine& line) {
  CLI::App* command =
      app.add_subcommand("inspect", "Say what a checkpoint holds, and verify every checksum");
  command->add_option("MODEL", line.inspect.model, kModel)->required();
  command->add_flag("--json", line.inspect.json, "Print JSON with a hash of every logical tensor");
  command->callback([&line] { line.on_one = [&line] { inspect(line.inspect); }; });
}

void add_simulate(CLI::App& app, CommandLine& line) {
  SimulateArguments& arguments = line.simulate;
  CLI::App* command = app.add_subcommand(
      "simulate", "Replay routing under placement policies and compare their plans");
  CLI::Option* config = command->add_option(
      "CONFIG", arguments.config, "YAML file: foretell its step time and memory on a cluster");
  command
      ->add_option("--cluster", arguments.cluster, "With CONFIG: YAML file as configs/clusters/*")
      ->needs(config);
  command->add_option("--set", arguments.overrides, "With CONFIG: override a value, once for each")
      ->needs(config)
      ->take_all()
      ->allow_extra_args(false);
  CLI::Option* trace = command->add_option(
      "--trace",
      arguments.trace,
      "safetensors file with the int32 tensor counts [samples, layers, ranks, experts]");
  command->add_option("--preset", arguments.preset, "Routing that is made up, in place of --trace")
      ->excludes(trace)
      ->excludes(config);
  command
      ->add_option(
          "--write-trace", arguments.write_trace, "Write what is replayed, as --trace reads it")
      ->excludes(config);
  command->add_option("--policy", arguments.policy, "A policy, or all")->capture_default_str();
  command->add_option("--nodes", arguments.nodes, "Nodes of the cluster")
      ->check(count_from(1))
      ->excludes(config);
  command->add_option("--ranks-per-node", arguments.ranks_per_node, "Ranks of each node")
      ->check(count_from(1))
      ->excludes(config);
  command
      ->add_option("--slots",
                   arguments.slots,
                   "Replicas that a rank can hold of one layer, beside the experts that it owns")
      ->check(count_from(0))
      ->excludes(config)
      ->capture_default_str();
  command->add_option("--emit-plans", arguments.emit_plans, "Write each plan, a JSON object a line")
      ->excludes(config);
  command->add_flag("--json", arguments.json, "Print a list of JSON objects");
  command->callback([&line] {
    line.on_one = [&line] {
      if (line.simulate.config.empty()) {
        simulate(line.simulate);
      } else {
        forecast(line.simulate, line.parts.names());
      }
    };
  });
}

void add_doctor(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand(
      "doctor", "Check MPI, nodes and the links between ranks; name what is wrong and its remedy");
  command->add_flag("--json", line.doctor.json, "Print one JSON object");
  command->callback([&line] {
    line.on_ranks = [&line](Communicator& world, Watchdog&) { doctor(world, line.doctor); };
  });
}

void add_help(CLI::App& app, CommandLine& line) {
  CLI::App* command = app.add_subcommand("help", "Explain the keys of a configuration");
  command->add_option("KEY", line.help.topic, "As optim.lr, lr, or a section as optim");
  CLI::Option* json = command->add_flag("--json", line.help.json, "Print a list of JSON objects");
  command->add_flag("--markdown", line.help.markdown, "Print the page docs/configuration.md")
      ->excludes(json);
  command->callback([&line] { line.on_one = [&line] { help(line.help, line.parts.names()); }; });
}

/// CLI11 says of a misspelt command only that one is missing.
std::string usage_problem(const CLI::App& app,
                          int argc,
                          char** argv,
                          const CLI::ParseError& error) {
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    commands.push_back(command->get_name());
  }
  if (error.get_name() == "RequiredError" && argc > 1 && argv[1][0] != '-' &&
      std::find(commands.begin(), commands.end(), argv[1]) == commands.end()) {
    return "there is no command '" + std::string(argv[1]) + "'; the commands are " +
           CLI::detail::join(commands, ", ");
  }
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

std::optional<int> read_command_line(int argc, char** argv, CommandLine& line) {
  CLI::App app("Enodia trains mixture-of-experts language models on many ranks.", "enodia");
  app.require_subcommand(1);
  app.set_version_flag("--version", "enodia " ENODIA_VERSION);
  add_train(app, line);
  add_eval(app, line);
  add_generate(app, line);
  add_logits(app, line);
  add_prepare(app, line);
  add_import(app, line);
  add_export(app, line);
  add_inspect(app, line);
  add_simulate(app, line);
  add_doctor(app, line);
  add_help(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      return launched_rank().rank == 0 ? app.exit(error) : 0;
    }
    if (launched_rank().rank == 0) {
      std::fprintf(
          stderr, "enodia: %s; see enodia --help\n", usage_problem(app, argc, argv, error).c_str());
    }
    return static_cast<int>(ExitCode::kConfig);
  }
  const bool watched = watched_by_a_person(launched_rank().world_size > 1);
  line.eval.terminal = watched;
  line.doctor.terminal = watched;
  line.train.show = line.json_steps ? ShowSteps::kJson
                    : watched       ? ShowSteps::kTerminal
                                    : ShowSteps::kLines;
  return std::nullopt;
}

}  // namespace enodia
