#include "engine/gpu/instance.h"
#include "engine/allocate.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define VALIDATION_LAYER "VK_LAYER_KHRONOS_validation"

enum { MAX_INSTANCE_EXTENSIONS = 4, LOG_LINE = 2048 };

/* The loader is opened once a process; volk keeps the handle. */
static pthread_once_t loader_once = PTHREAD_ONCE_INIT;
static VkResult loader_result;

static void load_loader(void)
{
    loader_result = volkInitialize();
}

void rf_sink_log(const struct rf_log_sink *sink, enum rf_log_level level, const char *format, ...)
{
    if (!sink->log)
        return;
    char line[LOG_LINE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; ++c)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    sink->log(sink->user, level, line);
}

const char *rf_vk_result_name(VkResult result)
{
    switch (result) {
    case VK_SUCCESS:
        return "VK_SUCCESS";
    case VK_NOT_READY:
        return "VK_NOT_READY";
    case VK_TIMEOUT:
        return "VK_TIMEOUT";
    case VK_INCOMPLETE:
        return "VK_INCOMPLETE";
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED:
        return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST:
        return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_MEMORY_MAP_FAILED:
        return "VK_ERROR_MEMORY_MAP_FAILED";
    case VK_ERROR_LAYER_NOT_PRESENT:
        return "VK_ERROR_LAYER_NOT_PRESENT";
    case VK_ERROR_EXTENSION_NOT_PRESENT:
        return "VK_ERROR_EXTENSION_NOT_PRESENT";
    case VK_ERROR_FEATURE_NOT_PRESENT:
        return "VK_ERROR_FEATURE_NOT_PRESENT";
    case VK_ERROR_INCOMPATIBLE_DRIVER:
        return "VK_ERROR_INCOMPATIBLE_DRIVER";
    case VK_ERROR_TOO_MANY_OBJECTS:
        return "VK_ERROR_TOO_MANY_OBJECTS";
    case VK_ERROR_INVALID_SHADER_NV:
        return "VK_ERROR_INVALID_SHADER_NV";
    case VK_ERROR_UNKNOWN:
        return "VK_ERROR_UNKNOWN";
    default:
        return "an unnamed VkResult";
    }
}

enum rf_status rf_vk_fail(struct rf_error *err, VkResult result, const char *what)
{
    enum rf_status status = RF_ERROR_INTERNAL;
    if (result == VK_ERROR_OUT_OF_HOST_MEMORY)
        status = RF_ERROR_HOST_MEMORY;
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY)
        status = RF_ERROR_DEVICE_MEMORY;
    if (result == VK_ERROR_DEVICE_LOST)
        status = RF_ERROR_DEVICE_LOST;
    return rf_fail(err, status, "%s: %s (%d)", what, rf_vk_result_name(result), (int)result);
}

static VkBool32 VKAPI_PTR on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                     VkDebugUtilsMessageTypeFlagsEXT types,
                                     const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    (void)types;
    struct rf_log_sink *sink = user;
    bool error = (severity & VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT) != 0;
    atomic_fetch_add(&sink->complaints, 1);
    rf_sink_log(sink, error ? RF_LOG_ERROR : RF_LOG_WARNING, "validation: %s",
                data->pMessage ? data->pMessage : "(no text)");
    return VK_FALSE;
}

/* Both: `no_memory` becomes true when the host had none for the list, so that the answer is not to be believed. */
static bool has_layer(const char *name, bool *no_memory)
{
    uint32_t count = 0;
    VkResult result = vkEnumerateInstanceLayerProperties(&count, NULL);
    VkLayerProperties *layers = rf_calloc(count, sizeof *layers);
    bool found = false;
    if (result == VK_SUCCESS && layers)
        result = vkEnumerateInstanceLayerProperties(&count, layers);
    *no_memory = *no_memory || !layers || result == VK_ERROR_OUT_OF_HOST_MEMORY;
    for (uint32_t i = 0; layers && result >= VK_SUCCESS && i < count; ++i)
        found = found || strcmp(layers[i].layerName, name) == 0;
    rf_free(layers);
    return found;
}

static bool has_extension(const char *layer, const char *name, bool *no_memory)
{
    uint32_t count = 0;
    VkResult result = vkEnumerateInstanceExtensionProperties(layer, &count, NULL);
    VkExtensionProperties *extensions = rf_calloc(count, sizeof *extensions);
    bool found = false;
    if (result == VK_SUCCESS && extensions)
        result = vkEnumerateInstanceExtensionProperties(layer, &count, extensions);
    *no_memory = *no_memory || !extensions || result == VK_ERROR_OUT_OF_HOST_MEMORY;
    for (uint32_t i = 0; extensions && result >= VK_SUCCESS && i < count; ++i)
        found = found || strcmp(extensions[i].extensionName, name) == 0;
    rf_free(extensions);
    return found;
}

/* Synchronization validation is switched on by layer settings where the layer knows them, else by the older
 * structure. */
struct validation_chain {
    VkValidationFeaturesEXT features;
    VkValidationFeatureEnableEXT enabled;
#ifdef VK_EXT_layer_settings
    VkLayerSettingsCreateInfoEXT settings;
    VkLayerSettingEXT setting;
    VkBool32 on;
#endif
};

static const void *chain_validation(struct validation_chain *chain, const char **extensions, uint32_t *count,
                                    bool *no_memory)
{
    extensions[(*count)++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
#ifdef VK_EXT_layer_settings
    if (has_extension(VALIDATION_LAYER, VK_EXT_LAYER_SETTINGS_EXTENSION_NAME, no_memory)) {
        extensions[(*count)++] = VK_EXT_LAYER_SETTINGS_EXTENSION_NAME;
        chain->on = VK_TRUE;
        chain->setting = (VkLayerSettingEXT){VALIDATION_LAYER, "validate_sync",
                                             VK_LAYER_SETTING_TYPE_BOOL32_EXT, 1, &chain->on};
        chain->settings =
            (VkLayerSettingsCreateInfoEXT){.sType = VK_STRUCTURE_TYPE_LAYER_SETTINGS_CREATE_INFO_EXT,
                                           .settingCount = 1,
                                           .pSettings = &chain->setting};
        return &chain->settings;
    }
#endif
    if (!has_extension(VALIDATION_LAYER, VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME, no_memory))
        return NULL;
    extensions[(*count)++] = VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME;
    chain->enabled = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
    chain->features = (VkValidationFeaturesEXT){.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                                .enabledValidationFeatureCount = 1,
                                                .pEnabledValidationFeatures = &chain->enabled};
    return &chain->features;
}

static void load_functions(struct rf_instance *instance, PFN_vkGetInstanceProcAddr get)
{
#define LOAD(field, name) instance->field = (PFN_##name)get(instance->handle, #name);
    RF_INSTANCE_FUNCTIONS(LOAD)
#undef LOAD
}

static VkDebugUtilsMessengerCreateInfoEXT messenger_info(struct rf_log_sink *sink)
{
    return (VkDebugUtilsMessengerCreateInfoEXT){
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        /* Not GENERAL: the loader's remarks about other drivers on the machine are no complaints about us. */
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = sink};
}

static enum rf_status create_messenger(struct rf_instance *instance, struct rf_log_sink *sink,
                                       struct rf_error *err)
{
    if (!instance->create_messenger)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "validation: the layer offers no VK_EXT_debug_utils");
    VkDebugUtilsMessengerCreateInfoEXT info = messenger_info(sink);
    VkResult result = instance->create_messenger(instance->handle, &info, NULL, &instance->messenger);
    return result == VK_SUCCESS ? RF_OK : rf_vk_fail(err, result, "vkCreateDebugUtilsMessengerEXT");
}

static enum rf_status fail_listing(struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory listing the Vulkan loader's extensions");
}

static enum rf_status check_loader(bool validation, struct rf_error *err)
{
    pthread_once(&loader_once, load_loader);
    if (loader_result != VK_SUCCESS)
        return rf_fail(err, RF_ERROR_NO_DEVICE,
                       "no Vulkan loader (libvulkan.so.1) was found: install it (Debian, Ubuntu: libvulkan1) "
                       "and a driver");
    uint32_t version = volkGetInstanceVersion();
    if (version < VK_API_VERSION_1_3)
        return rf_fail(err, RF_ERROR_NO_DEVICE, "the Vulkan loader is of version %u.%u, wanted 1.3 or newer",
                       VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version));
    bool no_memory = false;
    if (!validation || has_layer(VALIDATION_LAYER, &no_memory))
        return RF_OK;
    return no_memory
               ? fail_listing(err)
               : rf_fail(err, RF_ERROR_UNSUPPORTED,
                         "validation was asked for, but the layer " VALIDATION_LAYER " is not installed");
}

enum rf_status rf_instance_create(struct rf_instance *out, bool validation, bool labels,
                                  struct rf_log_sink *sink, struct rf_error *err)
{
    *out = (struct rf_instance){0};
    enum rf_status status = check_loader(validation, err);
    if (status)
        return status;

    const char *extensions[MAX_INSTANCE_EXTENSIONS];
    const char *layers[] = {VALIDATION_LAYER};
    uint32_t extension_count = 0;
    struct validation_chain chain = {0};
    VkInstanceCreateFlags flags = 0;
    bool no_memory = false;
    const void *next = validation ? chain_validation(&chain, extensions, &extension_count, &no_memory) : NULL;
    out->debug_utils = validation;
    if (labels && !validation && has_extension(NULL, VK_EXT_DEBUG_UTILS_EXTENSION_NAME, &no_memory)) {
        extensions[extension_count++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
        out->debug_utils = true;
    }
#ifdef VK_KHR_portability_enumeration
    if (has_extension(NULL, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME, &no_memory)) {
        extensions[extension_count++] = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
        flags |= VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
    }
#endif
    if (no_memory)
        return fail_listing(err);
    VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                             .pEngineName = "refusion",
                             .apiVersion = VK_API_VERSION_1_3};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pNext = next,
                                 .flags = flags,
                                 .pApplicationInfo = &app,
                                 .enabledLayerCount = validation ? 1 : 0,
                                 .ppEnabledLayerNames = layers,
                                 .enabledExtensionCount = extension_count,
                                 .ppEnabledExtensionNames = extensions};
    VkResult result = vkCreateInstance(&info, NULL, &out->handle);
    if (result != VK_SUCCESS)
        out->handle =
            VK_NULL_HANDLE; /* undefined after an error, and rf_instance_destroy is called all the same */
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
        return rf_fail(
            err, RF_ERROR_NO_DEVICE,
            "the Vulkan loader found no driver: install one (Debian, Ubuntu: mesa-vulkan-drivers) or point "
            "VK_DRIVER_FILES to its .json file");
    if (result != VK_SUCCESS)
        return rf_vk_fail(err, result, "vkCreateInstance");
    load_functions(out, vkGetInstanceProcAddr);
    if (validation && (status = create_messenger(out, sink, err)) != RF_OK)
        rf_instance_destroy(out);
    return status;
}

void rf_instance_adopt(struct rf_instance *out, VkInstance handle, PFN_vkGetInstanceProcAddr get,
                       bool debug_utils)
{
    *out = (struct rf_instance){.handle = handle, .adopted = true, .debug_utils = debug_utils};
    load_functions(out, get);
}

void rf_instance_destroy(struct rf_instance *instance)
{
    if (!instance->handle || instance->adopted)
        return;
    if (instance->messenger)
        instance->destroy_messenger(instance->handle, instance->messenger, NULL);
    instance->destroy(instance->handle, NULL);
    *instance = (struct rf_instance){0};
}

enum rf_status rf_instance_devices(const struct rf_instance *instance, VkPhysicalDevice **devices,
                                   uint32_t *count, struct rf_error *err)
{
    *devices = NULL;
    *count = 0;
    VkResult result = instance->enumerate_devices(instance->handle, count, NULL);
    if (result == VK_SUCCESS && *count) {
        *devices = rf_calloc(*count, sizeof **devices);
        if (!*devices)
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory listing %u devices", *count);
        result = instance->enumerate_devices(instance->handle, count, *devices);
    }
    if (result == VK_INCOMPLETE)
        result = VK_SUCCESS; /* a device came in between; the rest is right */
    if (result == VK_SUCCESS && *count)
        return RF_OK;
    rf_free(*devices);
    *devices = NULL;
    if (result == VK_SUCCESS || result == VK_ERROR_INITIALIZATION_FAILED ||
        result == VK_ERROR_INCOMPATIBLE_DRIVER)
        return rf_fail(
            err, RF_ERROR_NO_DEVICE,
            "no Vulkan device: the loader works, but its drivers offer none (see `vulkaninfo --summary`)");
    return rf_vk_fail(err, result, "vkEnumeratePhysicalDevices");
}
