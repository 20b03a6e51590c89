#include <cstdio>
#include <numeric>
#include <optional>
#include <vector>

#include <ATen/ops/empty.h>

#include "checkpoint/safetensors/safetensors_writer.h"
#include "collectives/collectives.h"
#include "collectives/run_together.h"
#include "common/file.h"
#include "parallel/tensor_view.h"
#include "trainer/commands/commands.h"
#include "trainer/data/token_lists.h"
#include "trainer/state/serving_model.h"

namespace enodia {
namespace {

constexpr int64_t kMaxIdsBytes = int64_t{1} << 30;

using Sequences = std::vector<std::vector<int64_t>>;

/// Rank 0 reads the file, every rank parses it. Collective; throws SharedError.
Sequences read_sequences(Communicator& control, const std::string& path, int64_t vocab_size) {
  std::string text;
  run_together(control, [&] {
    if (control.rank() == 0) {
      text = read_file(path, kMaxIdsBytes);
    }
  });
  text = broadcast_text(control, text, 0);
  Sequences sequences;
  run_together(control, [&] { sequences = parse_token_lists(text, vocab_size, path); });
  return sequences;
}

/// The logits [S, V] of one sequence; of none (null) a tensor without rows. Collective.
at::Tensor logits_of(StepEngine& engine, const std::vector<int64_t>* ids) {
  if (ids == nullptr) {
    return engine.logits(MicroBatch(), {});
  }
  MicroBatchBuilder builder;
  builder.add_segment(*ids, std::ssize(*ids));
  std::vector<int64_t> rows(ids->size());
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return engine.logits(builder.finish(), rows).contiguous();
}

/// Logits that one rank computed, on rank 0; nothing on the others. Collective.
at::Tensor bring_home(
    Communicator& control, int owner, const at::Tensor& mine, int64_t vocab_size, int64_t length) {
  if (owner == 0) {
    return mine;
  }
  std::vector<Message> sends, receives;
  at::Tensor received;
  if (control.rank() == owner) {
    sends.push_back({0, view(mine)});
  }
  if (control.rank() == 0) {
    received = at::empty({length, vocab_size}, mine.options());
    receives.push_back({owner, view(received)});
  }
  control.exchange(sends, receives).wait();
  return received;
}

/// In rounds of one sequence a rank; rank 0 writes them in order as they arrive. Collective.
void write_logits(ServingModel& model, const Sequences& sequences, const std::string& output) {
  Communicator& control = model.mesh.control();
  const ModelOptions& options = model.stored->config.model;
  const Precision precision(scalar_type(options.dtype));
  const int64_t num_sequences = std::ssize(sequences);
  const int64_t length = std::ssize(sequences.front());
  std::optional<SafetensorsWriter> writer;  // on rank 0
  const auto on_rank_0 = [&](const auto& work) {
    run_together(control, [&] {
      if (control.rank() == 0) {
        work();
      }
    });
  };
  on_rank_0([&] {
    const SafetensorsSpec logits{
        "logits", dtype_of(precision.wide), {num_sequences, length, options.vocab_size}};
    writer.emplace(output, std::vector{logits}, std::map<std::string, std::string>());
  });
  for (int64_t first = 0; first < num_sequences; first += control.world_size()) {
    const int64_t mine = first + control.rank();
    const at::Tensor logits =
        logits_of(*model.engine, mine < num_sequences ? &sequences[mine] : nullptr);
    for (int owner = 0; owner < control.world_size() && first + owner < num_sequences; ++owner) {
      const at::Tensor arrived = bring_home(control, owner, logits, options.vocab_size, length);
      on_rank_0([&] {
        writer->write({static_cast<const std::byte*>(arrived.const_data_ptr()),
                       static_cast<size_t>(arrived.nbytes())});
      });
    }
  }
  on_rank_0([&] { writer->finish(); });
}

}  // namespace

void logits(Communicator& world,
            Watchdog& watchdog,
            const LogitsArguments& arguments,
            const ModelParts& parts) {
  ServingModel model(world, arguments.model, watchdog.board(), parts);
  watchdog.board().enter(RunSection::kEval);
  const int64_t vocab_size = model.stored->config.model.vocab_size;
  const Sequences sequences = read_sequences(model.mesh.control(), arguments.ids, vocab_size);
  write_logits(model, sequences, arguments.output);
  if (world.rank() != 0) {
    return;
  }
  const int64_t length = std::ssize(sequences.front());
  if (arguments.json) {
    const Json json = {{"sequences", sequences.size()},
                       {"length", length},
                       {"vocab_size", vocab_size},
                       {"output", arguments.output}};
    std::puts(json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    std::printf("%s: logits [%zu, %lld, %lld]\n",
                arguments.output.c_str(),
                sequences.size(),
                static_cast<long long>(length),
                static_cast<long long>(vocab_size));
  }
}

}  // namespace enodia
