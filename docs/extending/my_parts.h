#pragma once

#include "models/model_parts.h"

std::unique_ptr<enodia::Block> make_sliding_window(const enodia::ModelOptions& options,
                                                   const std::string& layer_name,
                                                   int index,
                                                   enodia::ParameterRegistry& registry);

std::unique_ptr<enodia::Router> make_cosine(const enodia::ModelOptions& options,
                                            const std::string& name,
                                            enodia::ParameterRegistry& registry);

enodia::LossFunction make_label_smoothing(const enodia::ModelOptions& options);
