# The build rules of the project: how a folder becomes a library, and who may include whom.
#
# A library sees the headers of its own folder and of the folders that its DEPS lead to, and no
# others: its include directory is a tree of links made for it alone. An #include against the
# layers of design section 3 therefore does not find its file.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(absl REQUIRED)

add_library(h2bd_flags INTERFACE)
target_compile_options(h2bd_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(h2bd_flags INTERFACE -Wthread-safety -Wno-gnu-zero-variadic-macro-arguments)
endif()
if(H2BD_SANITIZE)
  target_compile_options(h2bd_flags INTERFACE -fsanitize=${H2BD_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(h2bd_flags INTERFACE -fsanitize=${H2BD_SANITIZE})
  if(H2BD_SANITIZE MATCHES thread)
    # Abseil's locks in a form that the sanitizer sees; tests/sanitizers/README.md says why.
    target_include_directories(h2bd_flags BEFORE INTERFACE ${CMAKE_SOURCE_DIR}/tests/sanitizers/include)
  endif()
endif()

# h2bd_layers(TARGET FOLDER DEPS...): gives TARGET its own include tree.
function(h2bd_layers target folder)
  set(folders ${folder})
  foreach(dep ${ARGN})
    get_target_property(more ${dep} H2BD_FOLDERS)
    if(more)
      list(APPEND folders ${more})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES folders)
  set(tree ${CMAKE_BINARY_DIR}/layers/${target})
  file(REMOVE_RECURSE ${tree})
  foreach(f ${folders})
    get_filename_component(parent ${tree}/${f} DIRECTORY)
    file(MAKE_DIRECTORY ${parent})
    file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${f} ${tree}/${f} SYMBOLIC)
  endforeach()
  set_target_properties(${target} PROPERTIES H2BD_FOLDERS "${folders}")
  target_include_directories(${target} PRIVATE ${tree})
  # Messages name a source by its place in the project, wherever it was built.
  target_compile_options(${target} PRIVATE
    -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/= -fmacro-prefix-map=${tree}/=)
endfunction()

# h2bd_library(NAME HDRS ... SRCS ... DEPS ... LINK ...): the library of the current folder.
# DEPS are targets of this project, LINK are libraries of others.
function(h2bd_library name)
  cmake_parse_arguments(ARG "" "" "HDRS;SRCS;DEPS;LINK" ${ARGN})
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  add_library(${name} STATIC ${ARG_SRCS} ${ARG_HDRS})
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  h2bd_layers(${name} ${folder} ${ARG_DEPS})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} ${ARG_LINK} PRIVATE h2bd_flags)
  if(H2BD_CHECK_HEADERS AND ARG_HDRS)
    set(alone)
    foreach(header ${ARG_HDRS})
      string(REPLACE "/" "_" unit ${header})
      set(file ${CMAKE_CURRENT_BINARY_DIR}/alone/${unit}.cc)
      file(CONFIGURE OUTPUT ${file} CONTENT "#include \"${folder}/${header}\"\n")
      list(APPEND alone ${file})
    endforeach()
    add_library(${name}_headers OBJECT ${alone})
    h2bd_layers(${name}_headers ${folder} ${ARG_DEPS})
    target_link_libraries(${name}_headers PRIVATE ${ARG_DEPS} ${ARG_LINK} h2bd_flags)
  endif()
endfunction()

# h2bd_binary(NAME SRCS ... DEPS ... LINK ...): a program in build/bin.
function(h2bd_binary name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS;LINK" ${ARGN})
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  add_executable(${name} ${ARG_SRCS})
  h2bd_layers(${name} ${folder} ${ARG_DEPS})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} ${ARG_LINK} h2bd_flags)
endfunction()

# h2bd_test(NAME SRCS ... DEPS ... LINK ... [TIMEOUT seconds] [LABELS ...]): a GoogleTest program.
function(h2bd_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SRCS;DEPS;LINK;LABELS" ${ARGN})
  h2bd_binary(${name} SRCS ${ARG_SRCS} DEPS ${ARG_DEPS} LINK ${ARG_LINK} GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}"
    ENVIRONMENT "H2BD_SOURCE_DIR=${CMAKE_SOURCE_DIR};H2BD_BIN_DIR=${CMAKE_BINARY_DIR}/bin")
  foreach(source ${ARG_SRCS})
    set_property(GLOBAL APPEND PROPERTY H2BD_LISTED_TESTS ${CMAKE_CURRENT_SOURCE_DIR}/${source})
  endforeach()
endfunction()

# A test outside the build rots unseen: a *_test.cc that no target lists stops the configuration.
function(h2bd_refuse_unlisted_tests)
  get_property(listed GLOBAL PROPERTY H2BD_LISTED_TESTS)
  file(GLOB_RECURSE present CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/*_test.cc)
  if(NOT H2BD_SERVICE)  # without the service there are no tests of it
    list(FILTER present EXCLUDE REGEX "/tests/(server|client|e2e)/")
  endif()
  foreach(file ${present})
    if(NOT file IN_LIST listed)
      message(FATAL_ERROR "no target lists the test ${file}")
    endif()
  endforeach()
endfunction()
