# One static library for each folder of src/unmask, so that a wrong include does not link.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)

# What every piece of this project is compiled with.
add_library(unmask_options INTERFACE)
target_compile_options(unmask_options INTERFACE
  -march=x86-64-v3 -ffp-contract=fast -fno-math-errno
  -Wall -Wextra -Wconversion -Wno-sign-conversion -Werror)
if(UNMASK_SANITIZE)
  target_compile_options(unmask_options INTERFACE
    -fsanitize=${UNMASK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(unmask_options INTERFACE -fsanitize=${UNMASK_SANITIZE})
endif()

# What only reads, writes and prints need not be fast: with less optimisation it compiles in two
# thirds of the time. Under sanitizers that is all but kernels and routing, in half of the time.
set(UNMASK_LIGHT_OPTIMISATION -O1 CACHE STRING "Optimisation of folders that do not compute")
set(light_folders evaluate report experiment)
if(UNMASK_SANITIZE)
  list(APPEND light_folders base text model checkpoint diffusion train)
endif()

# What most files read, parsed once. Kernels and routing read little of it, and under sanitizers they
# are optimised more than the rest, for which another copy would be needed.
set(precompiled <algorithm> <array> <filesystem> <functional> <map> <memory> <optional> <span>
  <string> <string_view> <utility> <vector> <fmt/format.h> <fmt/ranges.h> <nlohmann/json.hpp>)

# unmask_folder(NAME [DEPENDS folder…] [LIBRARIES target…]): all .cpp files of the calling folder.
function(unmask_folder name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  if(sources)
    add_library(unmask_${name} STATIC ${sources})
    set(scope PUBLIC)
    target_compile_features(unmask_${name} PUBLIC cxx_std_20)
    target_link_libraries(unmask_${name} PRIVATE $<BUILD_INTERFACE:unmask_options>)
  else()
    add_library(unmask_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  if(sources AND name IN_LIST light_folders)
    target_compile_options(unmask_${name} PRIVATE ${UNMASK_LIGHT_OPTIMISATION})
  endif()
  if(name STREQUAL base)
    target_precompile_headers(unmask_base PRIVATE ${precompiled})
  elseif(sources AND NOT name MATCHES "^(kernels|routing)$")
    target_precompile_headers(unmask_${name} REUSE_FROM unmask_base)
  endif()
  add_library(unmask::${name} ALIAS unmask_${name})
  set_target_properties(unmask_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(unmask_${name} ${scope}
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:include>)
  list(TRANSFORM arg_DEPENDS PREPEND unmask::)
  target_link_libraries(unmask_${name} ${scope} ${arg_DEPENDS} ${arg_LIBRARIES})
  set_property(GLOBAL APPEND PROPERTY UNMASK_FOLDERS unmask_${name})
endfunction()
