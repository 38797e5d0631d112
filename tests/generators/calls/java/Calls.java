// Five calls with the client of openapi-generator for Java (library `native`).

import com.fasterxml.jackson.annotation.JsonSetter;
import com.fasterxml.jackson.annotation.Nulls;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.CallsApi;
import org.openapitools.client.api.EventFeedApi;
import org.openapitools.client.model.*;

public class Calls {
    static void check(boolean ok, Object what) {
        if (!ok) throw new AssertionError(what);
    }

    public static void main(String[] arguments) throws Exception {
        long wanted = Long.parseLong(System.getenv("CTI_CALL"));
        long user = Long.parseLong(System.getenv("CTI_USER"));
        ApiClient client = new ApiClient();
        client.updateBaseUri(System.getenv("CTI_URL"));
        client.setRequestInterceptor(request -> request.header("x-api-key", System.getenv("CTI_API_KEY")));
        // Otherwise a number is also taken for a text, and an id that is either one of them is refused.
        ObjectMapper mapper = ApiClient.createDefaultObjectMapper();
        mapper.configure(MapperFeature.ALLOW_COERCION_OF_SCALARS, false);
        // The class of an id refuses null, which a call without a user has.
        mapper.configOverride(DialpadId.class).setSetterInfo(JsonSetter.Value.forValueNulls(Nulls.SKIP));
        client.setObjectMapper(mapper);
        CallsApi calls = new CallsApi(client);

        List<Call> listed = calls.listCalls(null, null, null, null, null, null, null, null, 500L, null, null);
        check(listed.stream().anyMatch(call -> call.getCallId().getActualInstance().equals(wanted)), listed);
        Call call = calls.getCall(System.getenv("CTI_CALL"), null);
        check(call.getCallId().getLong() == wanted && call.getOutcome() == Outcome.ANSWERED, call);
        List<Event> events =
            new EventFeedApi(client).listEvents(0L, null, null, null, null, null, null, null, null, null, null, 1000L, null);
        check(events.stream().map(Event::getActualInstance).anyMatch(event ->
            event instanceof CallRingEvent ring && ring.getCallId().getActualInstance().equals(wanted)), events);
        CallOrder order = new CallOrder().dialpadUserId(new PositiveId(user)).phoneNumber("+14155551234");
        Call placed = calls.placeCall(order, null, null);
        check(placed.getStatus() == Status.RINGING, placed);
        try {
            calls.getCall("12", null);
            throw new AssertionError("there is no such call");
        } catch (ApiException error) {
            check(error.getCode() == 404 && error.getResponseBody().contains("CALL_NOT_FOUND"), error);
        }
    }
}
