#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "unmask/base/result.h"
#include "unmask/text/sequences.h"
#include "unmask/text/tokenizer.h"

namespace unmask {

// Opens what a training configuration names as data: each path is a text file (.txt and anything
// that is not the following: one document), JSON lines (.jsonl, .json) with `text` (a document a
// line) or with `messages` (conversations), a token dataset (PREFIX, PREFIX.bin or PREFIX.idx), or
// a directory of such files in the order of their names. Text is tokenized into memory; more than
// 512 MB of it is an error that names `unmask tokenize`. Conversations give one sequence per answer
// (conversations.h) and cannot be mixed with text. The tokenizer needs an end token; it is not
// kept.
Result<std::unique_ptr<SequenceSource>> open_corpus(std::span<const std::string> paths,
                                                    const Tokenizer& tokenizer,
                                                    int32_t sequence_length);

// The files that the paths stand for, in order; a token dataset by the path it was found under.
Result<std::vector<std::string>> corpus_files(std::span<const std::string> paths);

// Whether a path of `corpus_files` is a token dataset.
bool is_token_file(const std::string& path);

}  // namespace unmask
