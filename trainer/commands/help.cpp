#include <cstdio>

#include "trainer/commands/commands.h"
#include "trainer/config/reference.h"
#include "trainer/run/start.h"

namespace enodia {

void help(const HelpArguments& arguments, const PartNames& parts) {
  const std::vector<KeyReference> keys =
      arguments.topic.empty() ? list_reference(parts) : find_reference(arguments.topic, parts);
  const std::string text = arguments.json            ? to_json(keys).dump(1) + "\n"
                           : arguments.markdown      ? write_markdown(keys)
                           : arguments.topic.empty() ? write_overview(keys)
                           : keys.size() == 1        ? write_key(keys[0])
                                                     : write_list(keys);
  std::fputs(text.c_str(), stdout);
}

void print_config(const TrainArguments& arguments, int world_size, const PartNames& parts) {
  const TrainConfig config = parse_train_config(
      read_config_file(arguments.config),
      arguments.config,
      arguments.overrides,
      world_size,
      parts,
      [&](const TrainConfig& written) { return find_initial_model(written, arguments.start); });
  std::fputs(to_yaml(config).c_str(), stdout);
}

}  // namespace enodia
