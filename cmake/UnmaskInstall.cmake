# The installed library: find_package(unmask) and link unmask::unmask, or one folder of it
# (unmask::routing…).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(folders GLOBAL PROPERTY UNMASK_FOLDERS)
add_library(unmask_all INTERFACE)
set_target_properties(unmask_all PROPERTIES EXPORT_NAME unmask)
target_link_libraries(unmask_all INTERFACE ${folders})

install(TARGETS unmask RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS ${folders} unmask_all EXPORT unmask ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY src/unmask DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "cli" EXCLUDE)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/unmask)
install(EXPORT unmask NAMESPACE unmask:: FILE unmaskTargets.cmake DESTINATION ${package_dir})
configure_package_config_file(cmake/unmaskConfig.cmake.in unmaskConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(unmaskConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/unmaskConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/unmaskConfigVersion.cmake DESTINATION ${package_dir})
