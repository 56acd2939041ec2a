#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "unmask/base/result.h"

namespace unmask {

// Whether a file or directory lies there; not, where the system does not tell.
bool path_exists(const std::filesystem::path& path);

// The whole file as bytes.
Result<std::string> read_file(const std::string& path);

// Makes the directory that `path` lies in, where there is none.
Status make_parent(const std::string& path);

// `write` fills an empty file at another place, which is then synced and renamed: after a crash the
// path holds the old bytes or the new, never a part. Writers of one path take turns. Makes the
// directory it lies in. A symbolic link stays one; a device or pipe is what `write` is given.
Status replace_file(const std::string& path,
                    const std::function<Status(const std::string& place)>& write);
// The same with these bytes.
Status write_file_atomically(const std::string& path, std::string_view bytes);

// Keeps the first `size` bytes of a file, which is made when it is not there, puts `bytes` in place
// of what stood behind them, and syncs. Failure when the file is shorter.
Status replace_tail(const std::string& path, int64_t size, std::string_view bytes);

}  // namespace unmask
