#pragma once

#include <string>
#include <vector>

#include "trainer/config/value_rules.h"
#include "trainer/data/data_source.h"

namespace enodia {

/// Reads data.train, one prefix or a list of sources, as strictly as sections are read. Returns
/// everything that is wrong with the places in the file, each sentence to follow the key's path, or
/// nothing after having set `field`.
std::vector<YamlComplaint> read_value(const YamlNode& node,
                                      const SourceListRule& rule,
                                      std::vector<DataSource>& field);

/// One source of weight 1 as its prefix, others as a list on one line. Reads back the same.
std::string write_value(const SourceListRule& rule, const std::vector<DataSource>& value);

}  // namespace enodia
