#pragma once

#include <atomic>

namespace unmask::cli {

// From now on the first Ctrl-C sets the flag that is returned, and the second ends the program.
const std::atomic<bool>& cancel_on_interrupt();

// What goes to standard error first when a signal ends the program after all, until it is cleared.
void set_farewell(const char* text);
void clear_farewell();
// Writes it, if there is one, from a signal's handler.
void say_farewell();

// For runs that are saved on the way out: from now on the first Ctrl-C or SIGTERM sets the flag
// that is returned, and the second leaves at once.
const std::atomic<bool>& stop_on_signal();

// Whether that flag, or the one of cancel_on_interrupt, was set.
bool was_interrupted();

// Ends the program as Ctrl-C would have, once all is printed: a shell sees exit code 130.
[[noreturn]] void end_by_interrupt();

}  // namespace unmask::cli
