# One interface target carries warnings, sanitizers and system includes for every target of the project.
add_library(taskmill_flags INTERFACE)
target_compile_features(taskmill_flags INTERFACE cxx_std_20)
target_include_directories(taskmill_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
target_compile_options(taskmill_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
  -Wcast-align -Wimplicit-fallthrough -fno-strict-aliasing)
# No -Wnull-dereference: boost::system::result's operator* dereferences a pointer that is null for errors, and GCC
# reports every use in optimised code.
target_compile_definitions(taskmill_flags INTERFACE _GNU_SOURCE)

set(TASKMILL_SANITIZE "" CACHE STRING "comma list for -fsanitize=, e.g. address,undefined")
if(TASKMILL_SANITIZE)
  target_compile_options(taskmill_flags INTERFACE -fsanitize=${TASKMILL_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(taskmill_flags INTERFACE -fsanitize=${TASKMILL_SANITIZE})
  # GCC's flow analysis reports false uses of uninitialised values in instrumented code. Its four checks of every
  # member access cost a quarter of the compile time and find little that ASan does not; the fuzz preset (clang) has them.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(taskmill_flags INTERFACE -Wno-maybe-uninitialized)
    if(TASKMILL_SANITIZE MATCHES "undefined")
      target_compile_options(taskmill_flags INTERFACE -fno-sanitize=null,alignment,object-size,vptr)
    endif()
  endif()
  if(TASKMILL_SANITIZE MATCHES "thread")
    target_compile_options(taskmill_flags INTERFACE -Wno-tsan)
  endif()
endif()

if(TASKMILL_FUZZ)
  target_compile_options(taskmill_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Release programs carry everything but libc, libm, libstdc++/libgcc and TLS inside, so that one
# file can be copied to a batch node.
option(TASKMILL_STATIC_RUNTIME "link libstdc++ and libgcc statically into the programs" OFF)
if(TASKMILL_STATIC_RUNTIME)
  set(ZLIB_USE_STATIC_LIBS ON)
  target_link_options(taskmill_flags INTERFACE -static-libstdc++ -static-libgcc)
endif()

# Asio is compiled once (common/aio/asio_impl.cpp); the definition is ABI and must be the same everywhere.
add_library(taskmill_asio INTERFACE)
target_compile_definitions(taskmill_asio INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_CO_AWAIT)

find_program(TASKMILL_MOLD mold)
if(TASKMILL_MOLD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_link_options(-fuse-ld=mold)
endif()
find_program(TASKMILL_CCACHE ccache)
if(TASKMILL_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${TASKMILL_CCACHE})
endif()
