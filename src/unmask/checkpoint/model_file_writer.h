#pragma once

#include <string>

#include "unmask/base/result.h"
#include "unmask/checkpoint/packed_layout.h"
#include "unmask/checkpoint/parameter_source.h"

namespace unmask {

// Writes a packed model (docs/model-file.md), config.json and the weights, into a directory that is
// being staged (base/staged_directory.h). The file is a stream: pieces are read and packed on all
// threads while those before them are written, and memory is that of the pieces. A weight that is
// not finite is an error that names its place.
Status write_model_file(const std::string& directory, const ParameterSource& source,
                        const PackedFormat& format, const ReportBytes& report = {});

}  // namespace unmask
