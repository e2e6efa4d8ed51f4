# Blob → Event Grid → queue → function. Event Grid waits 30 seconds for an answer, so nothing is scanned
# inside it; the queue counts deliveries, which is what safe mode goes by.

resource "azurerm_storage_queue" "incoming" {
  name               = "stoq-incoming"
  storage_account_id = azurerm_storage_account.incoming.id
}

# the host's own name for it: where a message goes after host.json's maxDequeueCount deliveries
resource "azurerm_storage_queue" "poison" {
  name               = "${azurerm_storage_queue.incoming.name}-poison"
  storage_account_id = azurerm_storage_account.incoming.id
}

# what Event Grid could not put into the queue
resource "azurerm_storage_container" "undelivered" {
  name                  = "undelivered"
  storage_account_id    = azurerm_storage_account.incoming.id
  container_access_type = "private"
}

resource "azurerm_eventgrid_system_topic" "incoming" {
  name                = "${local.name}-incoming"
  resource_group_name = azurerm_resource_group.stoq.name
  location            = azurerm_resource_group.stoq.location
  source_resource_id  = azurerm_storage_account.incoming.id
  topic_type          = "Microsoft.Storage.StorageAccounts"
  tags                = local.tags

  identity {
    type = "SystemAssigned"
  }
}

resource "azurerm_eventgrid_system_topic_event_subscription" "incoming" {
  name                  = "${local.name}-incoming"
  system_topic          = azurerm_eventgrid_system_topic.incoming.name
  resource_group_name   = azurerm_resource_group.stoq.name
  event_delivery_schema = "CloudEventSchemaV1_0"
  included_event_types  = ["Microsoft.Storage.BlobCreated"]

  subject_filter {
    subject_begins_with = "/blobServices/default/containers/${azurerm_storage_container.incoming.name}/"
    case_sensitive      = true
  }

  storage_queue_endpoint {
    storage_account_id = azurerm_storage_account.incoming.id
    queue_name         = azurerm_storage_queue.incoming.name
    # as long as messages wait on AWS
    queue_message_time_to_live_in_seconds = 1209600
  }

  delivery_identity {
    type = "SystemAssigned"
  }

  storage_blob_dead_letter_destination {
    storage_account_id          = azurerm_storage_account.incoming.id
    storage_blob_container_name = azurerm_storage_container.undelivered.name
  }

  dead_letter_identity {
    type = "SystemAssigned"
  }

  retry_policy {
    max_delivery_attempts = 30
    event_time_to_live    = 1440
  }

  depends_on = [azurerm_role_assignment.topic_sends, azurerm_role_assignment.topic_keeps_undelivered]
}
