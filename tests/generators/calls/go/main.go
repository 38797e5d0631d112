// Five calls with the client of openapi-generator for Go.
package main

import (
	"context"
	"log"
	"os"
	"strconv"

	cti "example.com/cti"
)

func check(ok bool, what ...any) {
	if !ok {
		log.Fatal(what...)
	}
}

func main() {
	wanted, err := strconv.ParseInt(os.Getenv("CTI_CALL"), 10, 64)
	check(err == nil, err)
	user, err := strconv.ParseInt(os.Getenv("CTI_USER"), 10, 64)
	check(err == nil, err)
	configuration := cti.NewConfiguration()
	configuration.Servers = cti.ServerConfigurations{{URL: os.Getenv("CTI_URL")}}
	client := cti.NewAPIClient(configuration)
	key := map[string]cti.APIKey{"api_key": {Key: os.Getenv("CTI_API_KEY")}}
	ctx := context.WithValue(context.Background(), cti.ContextAPIKeys, key)

	calls, _, err := client.CallsAPI.ListCalls(ctx).Limit(500).Execute()
	check(err == nil, "list: ", err)
	found := false
	for _, call := range calls {
		found = found || (call.CallId.Int64 != nil && *call.CallId.Int64 == wanted)
	}
	check(found, "the call is not in the list")
	call, _, err := client.CallsAPI.GetCall(ctx, os.Getenv("CTI_CALL")).Execute()
	check(err == nil, "call: ", err)
	check(*call.CallId.Int64 == wanted && string(*call.Outcome.Get()) == "answered", "call: ", call)
	events, _, err := client.EventFeedAPI.ListEvents(ctx).After(0).Limit(1000).Execute()
	check(err == nil, "events: ", err)
	found = false
	for _, event := range events {
		ring := event.CallRingEvent
		found = found || (ring != nil && *ring.CallId.Int64 == wanted)
	}
	check(found, "its ring is not in the events")
	order := cti.NewCallOrder(cti.Int64AsPositiveId(&user), "+14155551234")
	placed, _, err := client.CallsAPI.PlaceCall(ctx).CallOrder(*order).Execute()
	check(err == nil, "place: ", err)
	check(string(placed.Status) == "ringing", "place: ", placed)
	_, answer, err := client.CallsAPI.GetCall(ctx, "12").Execute()
	check(err != nil && answer.StatusCode == 404, "an unknown call: ", err)
}
